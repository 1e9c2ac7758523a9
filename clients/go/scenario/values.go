// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	client "mustafarclient"
)

type tensorSpec struct {
	DType string            `json:"dtype"`
	Shape []int             `json:"shape"`
	Seed  uint64            `json:"seed"`
	Patch map[string]string `json:"patch"`
}

type partSpec struct {
	Expect  *int64                `json:"expect"`
	Tensors map[string]tensorSpec `json:"tensors"`
}

// pairs: 0.k, 0.v, 1.k, ... as a pair per layer.
func pairs(tensors map[string]tensorSpec) ([]client.Pair, error) {
	var out []client.Pair
	for layer := 0; layer < len(tensors)/2; layer++ {
		k, err := tensors[fmt.Sprintf("%d.k", layer)].make()
		if err != nil {
			return nil, err
		}
		v, err := tensors[fmt.Sprintf("%d.v", layer)].make()
		if err != nil {
			return nil, err
		}
		out = append(out, client.Pair{K: k, V: v})
	}
	return out, nil
}

// make is the generator of tests/conformance/README.md, from element 0 on.
func (s tensorSpec) make() (client.Tensor, error) {
	count := 1
	for _, size := range s.Shape {
		count *= size
	}
	words := make([]uint32, count)
	for i := range words {
		words[i] = bits(s.DType, s.Seed, uint64(i))
	}
	for at, text := range s.Patch {
		index, err := strconv.Atoi(at)
		if err != nil || index >= count {
			return client.Tensor{}, fmt.Errorf("patch %q", at)
		}
		word, err := strconv.ParseUint(text, 16, 32)
		if err != nil {
			return client.Tensor{}, err
		}
		words[index] = uint32(word)
	}
	if s.DType == "f32" {
		values := make([]float32, count)
		for i, word := range words {
			values[i] = math.Float32frombits(word)
		}
		return client.F32(values, s.Shape...), nil
	}
	halves := make([]uint16, count)
	for i, word := range words {
		halves[i] = uint16(word)
	}
	if s.DType == "bf16" {
		return client.BF16(halves, s.Shape...), nil
	}
	return client.F16(halves, s.Shape...), nil
}

func bits(dtype string, seed, index uint64) uint32 {
	z := ((seed << 32) + index + 1) * 0x9E3779B97F4A7C15
	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB
	z ^= z >> 31
	exponent := (z >> 32) & 7
	switch dtype {
	case "f16":
		return uint32(z&0x83FF | (8+exponent)<<10)
	case "bf16":
		return uint32(z&0x807F | (120+exponent)<<7)
	}
	return uint32(z&0x807FFFFF | (120+exponent)<<23)
}

// canonical is one text per value, the same in every language.
func canonical(value any) string {
	switch one := value.(type) {
	case nil:
		return "n"
	case bool:
		if one {
			return "t"
		}
		return "f"
	case float64:
		if one == math.Trunc(one) && math.Abs(one) < 1<<53 {
			return fmt.Sprintf("i%d;", int64(one))
		}
		return fmt.Sprintf("d%016x", math.Float64bits(one))
	case string:
		return fmt.Sprintf("s%d:%s", len(one), one)
	case []any:
		var text strings.Builder
		for _, inner := range one {
			text.WriteString(canonical(inner))
		}
		return "[" + text.String() + "]"
	case map[string]any:
		names := make([]string, 0, len(one))
		for name := range one {
			names = append(names, name)
		}
		sort.Strings(names)
		var text strings.Builder
		for _, name := range names {
			text.WriteString(canonical(name) + canonical(one[name]))
		}
		return "{" + text.String() + "}"
	}
	return fmt.Sprintf("unknown %T", value)
}

func hash(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}

// described is an answer with tensors and files by their digests.
func described(answer any) any {
	switch one := answer.(type) {
	case *client.Tensor:
		return map[string]any{"dtype": one.DType, "shape": one.Shape, "sha256": hash(one.Data)}
	case []byte:
		return map[string]any{"bytes": len(one), "sha256": hash(one)}
	case *client.Attended:
		reply := map[string]any{"out": described(&one.Out)}
		for name, part := range map[string]*client.Tensor{"lse": one.LSE, "weights": one.Weights, "dropped": one.Dropped} {
			if part != nil {
				reply[name] = described(part)
			}
		}
		return reply
	case map[string]client.Attended:
		reply := map[string]any{}
		for id, inner := range one {
			inner := inner
			reply[id] = described(&inner)
		}
		return reply
	}
	return answer
}
