// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto"
	"encoding/hex"
	"os"
	"strings"
	"time"

	in_toto "github.com/in-toto/attestation/go/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
)

// verifySignature checks that the key signed a statement about the artifact, and returns the statement that it signed.
func verifySignature(attestation []byte, digest, keyFile string) (*in_toto.Statement, error) {
	signed := &bundle.Bundle{}
	if err := signed.UnmarshalJSON(attestation); err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey(pem)
	if err != nil {
		return nil, err
	}
	loaded, err := signature.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	trusted := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(loaded, time.Time{}, time.Time{}), nil
	})
	verifier, err := verify.NewVerifier(trusted, verify.WithNoObserverTimestamps())
	if err != nil {
		return nil, err
	}
	wanted, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:"))
	if err != nil {
		return nil, err
	}
	result, err := verifier.Verify(signed, verify.NewPolicy(verify.WithArtifactDigest("sha256", wanted), verify.WithKey()))
	if err != nil {
		return nil, err
	}
	return result.Statement, nil
}
