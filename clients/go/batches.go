// SPDX-License-Identifier: Apache-2.0

package mustafarclient

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sort"
)

// Pair is k and v of one layer, [tokens, kv_heads, head_dim].
type Pair struct{ K, V Tensor }

// AppendLayersQuery: parameters of AppendLayers.
type AppendLayersQuery struct {
	Expect    *int64 // length of every layer before; as for AppendRows
	Tentative *bool
}

// AppendLayers appends to every layer of a cache, or to none. POST /v1/caches/{id}/append
func (c *Client) AppendLayers(ctx context.Context, id string, layers []Pair, query AppendLayersQuery) (*AppendedAll, error) {
	body, err := PackTensors(named("", layers), nil)
	if err != nil {
		return nil, err
	}
	path := "/v1/caches/" + segment(id) + "/append"
	parameters := values("expect", query.Expect, "tentative", query.Tentative)
	out := new(AppendedAll)
	return out, c.sendTensors(ctx, path, parameters, body, query.Expect != nil, out)
}

// Part is what AppendCaches adds to one cache: a pair per layer, and the length before.
type Part struct {
	Layers []Pair
	Expect *int64
}

// AppendCachesQuery: parameters of AppendCaches.
type AppendCachesQuery struct {
	Tentative *bool
}

// AppendCaches appends to several caches, all or none of it. POST /v1/append
func (c *Client) AppendCaches(ctx context.Context, parts map[string]Part, query AppendCachesQuery) (*AppendedBatch, error) {
	expects := map[string]string{}
	var tensors []NamedTensor
	for _, id := range sortedKeys(parts) {
		tensors = append(tensors, named(id+".", parts[id].Layers)...)
		if expect := parts[id].Expect; expect != nil {
			expects["expect."+id] = fmt.Sprint(*expect)
		}
	}
	body, err := PackTensors(tensors, expects)
	if err != nil {
		return nil, err
	}
	out := new(AppendedBatch)
	return out, c.sendTensors(ctx, "/v1/append", values("tentative", query.Tentative), body, len(expects) == len(parts), out)
}

// AttendCaches attends on one layer of several caches; queries of one shape and type. POST /v1/attend
func (c *Client) AttendCaches(ctx context.Context, layer int64, queries map[string]Tensor, query AttendRowsQuery) (map[string]Attended, error) {
	var tensors []NamedTensor
	for _, id := range sortedKeys(queries) {
		tensors = append(tensors, NamedTensor{id + ".q", queries[id]})
	}
	parameters := query.values()
	parameters.Set("layer", fmt.Sprint(layer))
	found, err := c.tensors(ctx, "/v1/attend", parameters, tensors)
	if err != nil {
		return nil, err
	}
	out := map[string]Attended{}
	for id := range queries {
		one, ok := found[id+".out"]
		if !ok {
			return nil, &BadReply{200, "the reply lacks " + id + ".out"}
		}
		attended := Attended{Out: one}
		if lse, ok := found[id+".lse"]; ok {
			attended.LSE = &lse
		}
		out[id] = attended
	}
	return out, nil
}

// MergeParts joins what was attended on two disjoint sets of rows. POST /v1/merge
func (c *Client) MergeParts(ctx context.Context, outA, lseA, outB, lseB Tensor) (*Attended, error) {
	tensors := []NamedTensor{{"out_a", outA}, {"lse_a", lseA}, {"out_b", outB}, {"lse_b", lseB}}
	found, err := c.tensors(ctx, "/v1/merge", nil, tensors)
	if err != nil {
		return nil, err
	}
	out, ok := found["out"]
	lse, also := found["lse"]
	if !ok || !also {
		return nil, &BadReply{200, "the reply lacks out or lse"}
	}
	return &Attended{Out: out, LSE: &lse}, nil
}

func (c *Client) sendTensors(ctx context.Context, path string, query url.Values, body []byte, safe bool, out any) error {
	header := http.Header{"Content-Type": {safetensorsMedia}}
	reply, err := c.Do(ctx, Request{Method: "POST", Path: path, Query: query, Header: header, Body: body, Safe: safe})
	if err != nil {
		return err
	}
	return decode(reply, out)
}

func (c *Client) tensors(ctx context.Context, path string, query url.Values, tensors []NamedTensor) (map[string]Tensor, error) {
	body, err := PackTensors(tensors, nil)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {safetensorsMedia}}
	reply, err := c.Do(ctx, Request{Method: "POST", Path: path, Query: query, Header: header, Body: body, Safe: true})
	if err != nil {
		return nil, err
	}
	found, err := UnpackTensors(reply.Body)
	if err != nil {
		return nil, &BadReply{reply.Status, err.Error()}
	}
	return found, nil
}

func named(prefix string, layers []Pair) []NamedTensor {
	var tensors []NamedTensor
	for layer, pair := range layers {
		name := fmt.Sprintf("%slayers.%d.", prefix, layer)
		tensors = append(tensors, NamedTensor{name + "k", pair.K}, NamedTensor{name + "v", pair.V})
	}
	return tensors
}

func sortedKeys[T any](from map[string]T) []string {
	keys := make([]string, 0, len(from))
	for key := range from {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
