// SPDX-License-Identifier: Apache-2.0

// Command yamlcanon is the oracle for the canonical YAML form: it answers a stream of documents with what
// gopkg.in/yaml.v3 makes of them, so that a test can compare thousands of documents through one process.
//
// Request:  "<mode> <length>\n" and that many bytes. Modes: "canonical", "stripped" (the canonical form without
// top-level metadata.version), "value".
// Answer:   "<status> <length>\n" and that many bytes. Status: "fixpoint", "moves" (the canonical form of the
// answer differs from the answer), "error" (the bytes are the reason), "value" (JSON of the resolved document).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	for {
		var mode string
		var size int
		if _, err := fmt.Fscanf(in, "%s %d\n", &mode, &size); err != nil {
			break
		}
		document := make([]byte, size)
		if _, err := io.ReadFull(in, document); err != nil {
			break
		}
		status, body := answer(mode, document)
		fmt.Fprintf(out, "%s %d\n", status, len(body))
		out.Write(body)
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
	out.Flush()
}

func answer(mode string, document []byte) (status string, body []byte) {
	defer func() {
		if r := recover(); r != nil {
			status, body = "error", []byte(fmt.Sprint("panic: ", r))
		}
	}()
	if mode == "value" {
		return valueOf(document)
	}
	once, err := canonical(document, mode == "stripped")
	if err != nil {
		return "error", []byte(err.Error())
	}
	twice, err := canonical(once, mode == "stripped")
	if err != nil || string(once) != string(twice) {
		return "moves", once
	}
	return "fixpoint", once
}

func canonical(document []byte, stripped bool) ([]byte, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(document, &node); err != nil {
		return nil, err
	}
	if node.Kind == 0 {
		return nil, fmt.Errorf("empty document")
	}
	tidy(&node)
	if stripped && len(node.Content) == 1 {
		strip(node.Content[0])
	}
	return yaml.Marshal(&node)
}

// tidy drops comments and sorts the pairs of every mapping by the key's scalar text.
func tidy(node *yaml.Node) {
	node.HeadComment, node.LineComment, node.FootComment = "", "", ""
	for _, child := range node.Content {
		tidy(child)
	}
	if node.Kind != yaml.MappingNode {
		return
	}
	pairs := make([][2]*yaml.Node, 0, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		pairs = append(pairs, [2]*yaml.Node{node.Content[i], node.Content[i+1]})
	}
	sort.SliceStable(pairs, func(i, j int) bool { return pairs[i][0].Value < pairs[j][0].Value })
	for i, pair := range pairs {
		node.Content[2*i], node.Content[2*i+1] = pair[0], pair[1]
	}
}

// strip removes metadata.version, and metadata itself where nothing else was in it.
func strip(root *yaml.Node) {
	index := find(root, "metadata")
	if index < 0 {
		return
	}
	metadata := root.Content[index+1]
	version := find(metadata, "version")
	if version < 0 {
		return
	}
	metadata.Content = append(metadata.Content[:version], metadata.Content[version+2:]...)
	if len(metadata.Content) == 0 {
		root.Content = append(root.Content[:index], root.Content[index+2:]...)
	}
}

func find(node *yaml.Node, key string) int {
	if node.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == key {
			return i
		}
	}
	return -1
}

func valueOf(document []byte) (string, []byte) {
	var value any
	if err := yaml.Unmarshal(document, &value); err != nil {
		return "error", []byte(err.Error())
	}
	body, err := json.Marshal(describe(value))
	if err != nil {
		return "error", []byte(err.Error())
	}
	return "value", body
}

// describe spells every scalar as ["type", "text"], so that 1, 1.0 and "1" stay apart in JSON.
func describe(value any) any {
	switch v := value.(type) {
	case nil:
		return []string{"null", ""}
	case bool:
		return []string{"bool", fmt.Sprint(v)}
	case int, int64, uint64:
		return []string{"int", fmt.Sprint(v)}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return []string{"float", strings.ToLower(fmt.Sprint(v))}
		}
		return []string{"float", fmt.Sprintf("%x", v)}
	case string:
		return []string{"str", v}
	case time.Time:
		return []string{"time", ""}
	case []any:
		list := make([]any, 0, len(v))
		for _, item := range v {
			list = append(list, describe(item))
		}
		return map[string]any{"seq": list}
	case map[string]any:
		pairs := map[string]any{}
		for key, item := range v {
			pairs[key] = describe(item)
		}
		return map[string]any{"map": pairs}
	default:
		return []string{"other", fmt.Sprintf("%T", v)}
	}
}
