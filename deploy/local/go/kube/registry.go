// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/spf13/cobra"
)

// newRegistryCommand serves an OCI 1.1 registry, in memory, that has the referrers API, which Debian's registry lacks.
func newRegistryCommand() *cobra.Command {
	var addr, cert, key string
	serve := func(*cobra.Command, []string) error {
		server := &http.Server{
			Addr:              addr,
			Handler:           ociserver.New(ocimem.New(), nil),
			ReadHeaderTimeout: 10 * time.Second,
		}
		fmt.Fprintln(os.Stderr, "serving", addr)
		if cert != "" {
			return server.ListenAndServeTLS(cert, key)
		}
		return server.ListenAndServe()
	}
	command := &cobra.Command{Use: "oci-registry", SilenceUsage: true, RunE: serve}
	command.Flags().StringVar(&addr, "addr", "127.0.0.1:5001", "listen address")
	command.Flags().StringVar(&cert, "tls-cert", "", "TLS certificate file")
	command.Flags().StringVar(&key, "tls-key", "", "TLS key file")
	return command
}
