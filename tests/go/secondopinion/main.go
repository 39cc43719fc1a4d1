// SPDX-License-Identifier: Apache-2.0

// Command secondopinion judges an evidence artifact with the libraries that AICR's own verifier is built on: oras-go's
// file store unpacks it, sigstore-go checks the signature, yaml.v3 makes the recipe's canonical form. It carries out
// the steps of AICR's verifier in their order and shares no code with EvidenceRun.
//
// AICR accepts signatures that chain to a certificate; here the signature is checked with a public key instead, and so
// without log entry and timestamp. AICR's own binary is not run.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
)

func main() {
	layout := flag.String("layout", "", "OCI layout directory that holds the artifact")
	repository := flag.String("repository", "", "registry/repository that holds the artifact, in place of -layout")
	plainHTTP := flag.Bool("plain-http", false, "speak HTTP with the registry")
	digest := flag.String("digest", "", "sha256 digest of the artifact's manifest")
	key := flag.String("key", "", "public key of the signer, PEM")
	flag.Parse()
	if err := judge(*layout, *repository, *plainHTTP, *digest, *key); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func judge(layout, repository string, plainHTTP bool, digest, key string) error {
	ctx := context.Background()
	folder, err := os.MkdirTemp("", "secondopinion-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	attestation, err := materialize(ctx, layout, repository, plainHTTP, digest, folder)
	if err != nil {
		return fmt.Errorf("1 materialize-bundle failed: %w", err)
	}
	fmt.Println("1 materialize-bundle passed")
	statement, err := verifySignature(attestation, digest, key)
	if err != nil {
		return fmt.Errorf("2 signature-verify failed: %w", err)
	}
	fmt.Println("2 signature-verify passed")
	predicate, err := parsePredicate(statement)
	if err != nil {
		return fmt.Errorf("3 predicate-parse failed: %w", err)
	}
	fmt.Println("3 predicate-parse passed")
	if err := checkInventory(folder, predicate); err != nil {
		return fmt.Errorf("4 manifest-hash-check failed: %w", err)
	}
	fmt.Println("4 manifest-hash-check passed")
	for phase, summary := range predicate.Phases {
		fmt.Printf("5 %s passed %d failed %d skipped %d\n", phase, summary.Passed, summary.Failed, summary.Skipped)
	}
	fmt.Printf("recipe %s %s\n", predicate.Recipe.Name, predicate.Recipe.Digest)
	return nil
}
