// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	in_toto "github.com/in-toto/attestation/go/v1"
)

type predicate struct {
	SchemaVersion string `json:"schemaVersion"`
	Recipe        struct {
		Name   string `json:"name"`
		Digest string `json:"digest"`
	} `json:"recipe"`
	Phases map[string]struct {
		Passed     int    `json:"passed"`
		Failed     int    `json:"failed"`
		Skipped    int    `json:"skipped"`
		CtrfDigest string `json:"ctrfDigest"`
	} `json:"phases"`
	Bom struct {
		Digest string `json:"digest"`
	} `json:"bom"`
	Manifest struct {
		Digest    string `json:"digest"`
		FileCount int    `json:"fileCount"`
	} `json:"manifest"`
	Profile any `json:"profile"`
}

type manifest struct {
	SchemaVersion string `json:"schemaVersion"`
	Files         []struct {
		Path   string `json:"path"`
		Size   int64  `json:"size"`
		Sha256 string `json:"sha256"`
	} `json:"files"`
}

var (
	version = regexp.MustCompile(`^1\.0(\.[0-9]+)?$`)
	exempt  = map[string]bool{"manifest.json": true, "statement.intoto.json": true, "attestation.intoto.jsonl": true}
	phases  = map[string]bool{"deployment": true, "performance": true, "conformance": true}
)

func parsePredicate(statement *in_toto.Statement) (*predicate, error) {
	const prefix = "https://aicr.run/recipe-evidence/"
	if statement.GetPredicateType() != prefix+"v3" {
		return nil, fmt.Errorf("predicateType is %q", statement.GetPredicateType())
	}
	data, err := statement.GetPredicate().MarshalJSON()
	if err != nil {
		return nil, err
	}
	found := &predicate{}
	if err := json.Unmarshal(data, found); err != nil {
		return nil, err
	}
	if found.SchemaVersion != "1.0.0" {
		return nil, fmt.Errorf("schemaVersion is %q", found.SchemaVersion)
	}
	return found, nil
}

// checkInventory compares the files with the manifest, the manifest with the predicate, and both with the recipe.
func checkInventory(folder string, said *predicate) error {
	data, err := os.ReadFile(filepath.Join(folder, "manifest.json"))
	if err != nil {
		return err
	}
	if digestOf(data) != said.Manifest.Digest {
		return fmt.Errorf("manifest.json is %s, the predicate says %s", digestOf(data), said.Manifest.Digest)
	}
	var listed manifest
	if err := json.Unmarshal(data, &listed); err != nil {
		return err
	}
	if !version.MatchString(listed.SchemaVersion) || len(listed.Files) != said.Manifest.FileCount {
		return fmt.Errorf("schemaVersion %q, %d files", listed.SchemaVersion, len(listed.Files))
	}
	digests, err := checkFiles(folder, listed)
	if err != nil {
		return err
	}
	for phase, summary := range said.Phases {
		if !phases[phase] || summary.CtrfDigest == "" || digests["ctrf/"+phase+".json"] != summary.CtrfDigest {
			return fmt.Errorf("the report of phase %q is not the one in the predicate", phase)
		}
	}
	if digests["bom.cdx.json"] != said.Bom.Digest {
		return fmt.Errorf("bom.cdx.json is not the one in the predicate")
	}
	return checkRecipe(folder, said)
}

func checkFiles(folder string, listed manifest) (map[string]string, error) {
	digests := map[string]string{}
	for _, entry := range listed.Files {
		if !filepath.IsLocal(filepath.FromSlash(entry.Path)) {
			return nil, fmt.Errorf("%q is not local", entry.Path)
		}
		data, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(entry.Path)))
		if err != nil {
			return nil, err
		}
		if int64(len(data)) != entry.Size || digestOf(data) != entry.Sha256 {
			return nil, fmt.Errorf("%s differs from the manifest", entry.Path)
		}
		digests[entry.Path] = entry.Sha256
	}
	if digests["recipe.yaml"] == "" {
		return nil, fmt.Errorf("recipe.yaml is not listed")
	}
	return digests, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(folder, path)
		if err == nil && !exempt[filepath.ToSlash(relative)] && digests[filepath.ToSlash(relative)] == "" {
			err = fmt.Errorf("%s is not listed", relative)
		}
		return err
	})
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}
