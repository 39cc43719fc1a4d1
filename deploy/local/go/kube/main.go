// SPDX-License-Identifier: Apache-2.0

// Command kube is Kubernetes in one program: the name it is called by (or its first argument) picks the part.
// One binary of 139 MB replaces six that would share most of their code.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	_ "time/tzdata"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"

	kubectl "k8s.io/kubectl/pkg/cmd"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	kcm "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	sched "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

// Constructors, not commands: making a command registers process-wide flags, so only the chosen one is made.
var programs = map[string]func() *cobra.Command{
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": kcm.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return sched.NewSchedulerCommand() },
	"kube-proxy":              proxy.NewProxyCommand,
	"kubelet":                 func() *cobra.Command { return kubelet.NewKubeletCommand(context.Background()) },
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
	"oci-registry":            newRegistryCommand,
}

func chosen() (string, func() *cobra.Command) {
	name := filepath.Base(os.Args[0])
	if program, ok := programs[name]; ok {
		return name, program
	}
	if len(os.Args) > 1 {
		if program, ok := programs[os.Args[1]]; ok {
			os.Args = os.Args[1:]
			return os.Args[0], program
		}
	}
	return "", nil
}

func main() {
	name, program := chosen()
	switch {
	case program == nil:
		fmt.Fprintln(os.Stderr, "usage: kube", strings.Join(slices.Sorted(maps.Keys(programs)), "|"))
		os.Exit(2)
	case name == "kubectl":
		if err := cli.RunNoErrOutput(program()); err != nil {
			cmdutil.CheckErr(err)
		}
	default:
		os.Exit(cli.Run(program()))
	}
}
