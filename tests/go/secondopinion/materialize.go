// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/file"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
)

const (
	artifactType = "application/vnd.nvidia.aicr.artifact"
	bundleType   = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

// materialize pulls the artifact into folder and returns the Sigstore bundle of its first referrer.
func materialize(ctx context.Context, layout, repository string, plainHTTP bool, digest, folder string) ([]byte, error) {
	source, err := open(layout, repository, plainHTTP)
	if err != nil {
		return nil, err
	}
	target, err := file.New(folder)
	if err != nil {
		return nil, err
	}
	defer target.Close()
	found, err := oras.Copy(ctx, source, digest, target, "", oras.DefaultCopyOptions)
	if err != nil {
		return nil, err
	}
	if found.Digest.String() != digest {
		return nil, fmt.Errorf("pulled %s, asked for %s", found.Digest, digest)
	}
	if err := checkShape(ctx, source, found); err != nil {
		return nil, err
	}
	return referrer(ctx, source, found)
}

func open(layout, repository string, plainHTTP bool) (oras.ReadOnlyGraphTarget, error) {
	if layout != "" {
		return oci.New(layout)
	}
	target, err := remote.NewRepository(repository)
	if err != nil {
		return nil, err
	}
	target.PlainHTTP = plainHTTP
	return target, nil
}

func checkShape(ctx context.Context, source oras.ReadOnlyGraphTarget, found ocispec.Descriptor) error {
	manifest, err := fetchManifest(ctx, source, found)
	if err != nil {
		return err
	}
	if manifest.ArtifactType != artifactType {
		return fmt.Errorf("artifactType is %q", manifest.ArtifactType)
	}
	if len(manifest.Layers) != 1 || manifest.Layers[0].Annotations[ocispec.AnnotationTitle] != "." {
		return errors.New("the artifact is not one directory in one layer")
	}
	return nil
}

func referrer(ctx context.Context, source oras.ReadOnlyGraphTarget, found ocispec.Descriptor) ([]byte, error) {
	referrers, err := registry.Referrers(ctx, source, found, bundleType)
	if err != nil {
		return nil, err
	}
	if len(referrers) == 0 {
		return nil, errors.New("the artifact has no signature")
	}
	manifest, err := fetchManifest(ctx, source, referrers[0])
	if err != nil {
		return nil, err
	}
	if len(manifest.Layers) != 1 || manifest.Layers[0].MediaType != bundleType {
		return nil, errors.New("the signature's manifest is malformed")
	}
	return content.FetchAll(ctx, source, manifest.Layers[0])
}

func fetchManifest(ctx context.Context, source oras.ReadOnlyGraphTarget, found ocispec.Descriptor) (ocispec.Manifest, error) {
	var manifest ocispec.Manifest
	data, err := content.FetchAll(ctx, source, found)
	if err != nil {
		return manifest, err
	}
	return manifest, json.Unmarshal(data, &manifest)
}
