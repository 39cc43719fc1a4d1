#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# First process of a node, in its own network, mount, pid, uts and ipc namespace. Everything it needs comes by
# environment: NODE, NODE_DIR, NODE_ADDRESS, NODE_CGROUP, PROGRAMS, KUBECONFIG_FILE, FOLDERS, IMAGE_FOLDERS.
set -u

hostname "$NODE"
mount -t proc proc /proc
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
for folder in $FOLDERS; do
  mkdir -p "$NODE_DIR/bind$folder"
  mount --bind "$NODE_DIR/bind$folder" "$folder"
done
mount --bind "$NODE_DIR/machine-id" /etc/machine-id
mount --make-rshared /

# A cgroup root per node: kubelets would otherwise fight over /kubepods.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  echo "+cpu +cpuset +memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
  mkdir -p "/sys/fs/cgroup/$NODE_CGROUP"
else
  for controller in /sys/fs/cgroup/*/; do mkdir -p "$controller$NODE_CGROUP"; done
  for file in cpus mems; do
    cat /sys/fs/cgroup/cpuset/cpuset.$file >"/sys/fs/cgroup/cpuset/$NODE_CGROUP/cpuset.$file"
  done
fi

# Like a service manager: what ends is started again.
keep() {
  local name=$1
  shift
  while :; do
    "$@" >>"$NODE_DIR/$name.log" 2>&1
    echo "$name ended with exit code $?, starting it again" >>"$NODE_DIR/$name.log"
    sleep 1
  done
}

CTR=(ctr -a /run/containerd.sock)
keep containerd containerd -c "$NODE_DIR/containerd.toml" &
until "${CTR[@]}" version >/dev/null 2>&1; do sleep 0.1; done
for folder in $IMAGE_FOLDERS; do
  for archive in "$folder"/*.tar; do
    [ -e "$archive" ] || continue
    "${CTR[@]}" -n k8s.io images import "$archive"
    while read -r name digest_name; do
      "${CTR[@]}" -n k8s.io images tag --force "$name" "$digest_name"
    done <"$archive.names"
  done
done
keep kubelet "$PROGRAMS/kubelet" --kubeconfig "$KUBECONFIG_FILE" --config "$NODE_DIR/kubelet.yaml" \
  --hostname-override "$NODE" --node-ip "$NODE_ADDRESS" &
keep kube-proxy "$PROGRAMS/kube-proxy" --config "$NODE_DIR/proxy.yaml" &
wait
