# SPDX-License-Identifier: Apache-2.0
"""The files a node starts from: containerd, CNI, kubelet, kube-proxy, registry hosts."""

from __future__ import annotations

import json

from evidencelocal.settings import PAUSE_IMAGE, Settings
from evidencelocal.shell import write


def _containerd(settings: Settings, number: int) -> str:
    home = settings.node_dir(number)
    return f"""version = 2
root = "{home}/containerd"
state = "/run/containerd-state"
[grpc]
  address = "/run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{home}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE a negative oom_score_adj is refused, and with it every sandbox.
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{home}/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{home}/registries"
"""


def _network(settings: Settings, number: int) -> str:
    address_management = {
        "type": "host-local",
        "dataDir": "/run/cni-addresses",
        "ranges": [[{"subnet": settings.pod_cidr(number)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": address_management,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}, indent=1)


def _kubelet(settings: Settings, number: int) -> str:
    return f"""apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
containerRuntimeEndpoint: unix:///run/containerd.sock
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /{settings.cgroup(number)}
oomScoreAdj: 0
failSwapOn: false
authentication:
  anonymous: {{enabled: false}}
  webhook: {{enabled: true}}
  x509: {{clientCAFile: {settings.pki}/ca.crt}}
authorization: {{mode: Webhook}}
resolvConf: {settings.node_dir(number)}/resolv.conf
clusterDomain: cluster.local
clusterDNS: [{settings.dns_address}]
volumePluginDir: /var/lib/kubelet/volume-plugins
nodeStatusUpdateFrequency: 4s
nodeLeaseDurationSeconds: 16
serializeImagePulls: false
imageGCHighThresholdPercent: 100
evictionHard: {{memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}}
"""


def _proxy(settings: Settings, number: int) -> str:
    return f"""apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {{kubeconfig: {settings.pki}/proxy.kubeconfig}}
clusterCIDR: {settings.pod_net}.0.0/16
hostnameOverride: {settings.node_name(number)}
mode: iptables
oomScoreAdj: 0
conntrack: {{maxPerCore: 0}}
"""


def _registry_hosts(settings: Settings) -> dict[str, str]:
    secure, plain = f"https://{settings.registry}", f"http://{settings.referrers_registry}"
    capabilities = '  capabilities = ["pull", "resolve"]\n'
    return {
        settings.registry: (f'server = "{secure}"\n[host."{secure}"]\n{capabilities}  ca = "{settings.pki}/ca.crt"\n'),
        settings.referrers_registry: f'server = "{plain}"\n[host."{plain}"]\n{capabilities}',
    }


def write_all(settings: Settings, number: int) -> None:
    """Write every file of node `number`."""
    home = settings.node_dir(number)
    write(home / "containerd.toml", _containerd(settings, number))
    write(home / "cni" / "10-pods.conflist", _network(settings, number))
    write(home / "kubelet.yaml", _kubelet(settings, number))
    write(home / "proxy.yaml", _proxy(settings, number))
    write(home / "resolv.conf", "")
    write(home / "machine-id", f"{settings.instance * 100 + number:032x}\n")
    for registry, text in _registry_hosts(settings).items():
        write(home / "registries" / registry / "hosts.toml", text)
