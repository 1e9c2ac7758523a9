// SPDX-License-Identifier: Apache-2.0

package mustafarclient

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
)

const safetensorsMedia = "application/vnd.safetensors"

// NamedTensor is one of several in a safetensors body.
type NamedTensor struct {
	Name   string
	Tensor Tensor
}

type tensorEntry struct {
	DType   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

// PackTensors makes a safetensors body: 8 bytes of length, a JSON header, the bytes of the tensors in the order of their names.
func PackTensors(tensors []NamedTensor, metadata map[string]string) ([]byte, error) {
	header := map[string]any{}
	if len(metadata) > 0 {
		header["__metadata__"] = metadata
	}
	// encoding/json sorts names, and readers want the bytes in the order of the header.
	tensors = append([]NamedTensor(nil), tensors...)
	sort.Slice(tensors, func(i, j int) bool { return tensors[i].Name < tensors[j].Name })
	end := 0
	for _, one := range tensors {
		if err := one.Tensor.check(one.Name, len(one.Tensor.Shape)); err != nil {
			return nil, err
		}
		begin := end
		end += len(one.Tensor.Data)
		header[one.Name] = tensorEntry{strings.ToUpper(one.Tensor.DType), one.Tensor.Shape, [2]int{begin, end}}
	}
	text, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	text = append(text, bytes.Repeat([]byte(" "), (8-len(text)%8)%8)...)
	body := make([]byte, 8, 8+len(text)+end)
	binary.LittleEndian.PutUint64(body, uint64(len(text)))
	body = append(body, text...)
	for _, one := range tensors {
		body = append(body, one.Tensor.Data...)
	}
	return body, nil
}

// UnpackTensors reads a safetensors body; the tensors share its bytes.
func UnpackTensors(body []byte) (map[string]Tensor, error) {
	if len(body) < 8 || binary.LittleEndian.Uint64(body) > uint64(len(body)-8) {
		return nil, fmt.Errorf("a safetensors body that is cut short")
	}
	split := 8 + int(binary.LittleEndian.Uint64(body))
	var header map[string]json.RawMessage
	if err := json.Unmarshal(body[8:split], &header); err != nil {
		return nil, fmt.Errorf("the header of a safetensors body: %w", err)
	}
	data := body[split:]
	tensors := map[string]Tensor{}
	for name, text := range header {
		if name == "__metadata__" {
			continue
		}
		var one tensorEntry
		if err := json.Unmarshal(text, &one); err != nil {
			return nil, fmt.Errorf("safetensors: %s: %w", name, err)
		}
		begin, end := one.Offsets[0], one.Offsets[1]
		if begin < 0 || begin > end || end > len(data) {
			return nil, fmt.Errorf("safetensors: %s lies outside of the body", name)
		}
		tensor := Tensor{strings.ToLower(one.DType), one.Shape, data[begin:end:end]}
		if err := tensor.check(name, len(one.Shape)); err != nil {
			return nil, err
		}
		tensors[name] = tensor
	}
	return tensors, nil
}
