// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"gopkg.in/yaml.v3"
)

type recipe struct {
	Criteria struct {
		Accelerator string `yaml:"accelerator"`
		Service     string `yaml:"service"`
		OS          string `yaml:"os"`
		Intent      string `yaml:"intent"`
		Platform    string `yaml:"platform"`
	} `yaml:"criteria"`
}

// checkRecipe derives the recipe's name and its version 3 digest from recipe.yaml.
func checkRecipe(folder string, said *predicate) error {
	data, err := os.ReadFile(filepath.Join(folder, "recipe.yaml"))
	if err != nil {
		return err
	}
	var found recipe
	if err := yaml.Unmarshal(data, &found); err != nil {
		return err
	}
	if name := slug(found); name != said.Recipe.Name {
		return fmt.Errorf("the recipe is %q, the predicate says %q", name, said.Recipe.Name)
	}
	whole, err := canonical(data, false)
	if err != nil {
		return err
	}
	if string(whole) != string(data) {
		return fmt.Errorf("recipe.yaml is not in canonical form")
	}
	stripped, err := canonical(data, true)
	if err != nil {
		return err
	}
	if digest := strings.TrimPrefix(digestOf(stripped), "sha256:"); digest != said.Recipe.Digest {
		return fmt.Errorf("the recipe's digest is %s, the predicate says %s", digest, said.Recipe.Digest)
	}
	return nil
}

func slug(found recipe) string {
	c := found.Criteria
	var words []string
	for _, word := range []string{c.Accelerator, c.Service, c.OS, c.Intent, c.Platform} {
		if word != "" && word != "any" {
			words = append(words, word)
		}
	}
	if len(words) == 0 {
		return "recipe"
	}
	return strings.Join(words, "-")
}

func canonical(data []byte, strip bool) ([]byte, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(data, &node); err != nil {
		return nil, err
	}
	tidy(&node)
	if strip && len(node.Content) == 1 {
		dropVersion(node.Content[0])
	}
	return yaml.Marshal(&node)
}

func tidy(node *yaml.Node) {
	node.HeadComment, node.LineComment, node.FootComment = "", "", ""
	for _, child := range node.Content {
		tidy(child)
	}
	if node.Kind != yaml.MappingNode {
		return
	}
	pairs := make([][2]*yaml.Node, len(node.Content)/2)
	for i := range pairs {
		pairs[i] = [2]*yaml.Node{node.Content[2*i], node.Content[2*i+1]}
	}
	sort.SliceStable(pairs, func(i, j int) bool { return pairs[i][0].Value < pairs[j][0].Value })
	for i, pair := range pairs {
		node.Content[2*i], node.Content[2*i+1] = pair[0], pair[1]
	}
}

func dropVersion(top *yaml.Node) {
	at := member(top, "metadata")
	if at < 0 {
		return
	}
	metadata := top.Content[at+1]
	if version := member(metadata, "version"); version >= 0 {
		metadata.Content = append(metadata.Content[:version], metadata.Content[version+2:]...)
		if len(metadata.Content) == 0 {
			top.Content = append(top.Content[:at], top.Content[at+2:]...)
		}
	}
}

func member(node *yaml.Node, key string) int {
	for i := 0; node.Kind == yaml.MappingNode && i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return i
		}
	}
	return -1
}
