// SPDX-License-Identifier: Apache-2.0

package mustafarclient

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// AppendRowsQuery: parameters of AppendRows.
type AppendRowsQuery struct {
	// Expect is the length of the layer before. With it a lost answer is asked for again and tokens are stored
	// once; without it (the server may refuse that) the request is never repeated.
	Expect    *int64
	Tentative *bool // packed only after commit
}

// AppendRows appends k and v, [tokens, kv_heads, head_dim], to one layer.
// POST /v1/caches/{id}/layers/{layer}/append
func (c *Client) AppendRows(ctx context.Context, id string, layer int64, k, v Tensor, query AppendRowsQuery) (*Appended, error) {
	if err := checkPair(k, v); err != nil {
		return nil, err
	}
	body := make([]byte, 0, len(k.Data)+len(v.Data))
	reply, err := c.Do(ctx, Request{
		Method: "POST",
		Path:   "/v1/caches/" + segment(id) + "/layers/" + segment(layer) + "/append",
		Query:  values("dtype", k.DType, "tokens", k.Shape[0], "expect", query.Expect, "tentative", query.Tentative),
		Header: http.Header{"Content-Type": {octetsMedia}},
		Body:   append(append(body, k.Data...), v.Data...),
		Safe:   query.Expect != nil,
	})
	if err != nil {
		return nil, err
	}
	out := new(Appended)
	return out, decode(reply, out)
}

func checkPair(k, v Tensor) error {
	if err := k.check("k", 3); err != nil {
		return err
	}
	if err := v.check("v", 3); err != nil {
		return err
	}
	if k.DType != v.DType || k.Shape[0] != v.Shape[0] || k.Shape[1] != v.Shape[1] {
		return fmt.Errorf("k is %s %v, v is %s %v: they do not match", k.DType, k.Shape, v.DType, v.Shape)
	}
	return nil
}

// AttendRowsQuery: parameters of AttendRows; nil is the default of the server.
type AttendRowsQuery struct {
	LSE           *bool   // the log-sum-exp too
	OutDtype      *string // f16, bf16 or f32; that of q unless given
	Scale         *float64
	Softcap       *float64
	SlidingWindow *int64
	DropMass      *float64
	QPosition     *int64    // of query 0; without it the queries are the last tokens
	Sinks         []float32 // learned ones, of each query head; not of AttendCaches
	Weights       *int64    // columns of the weights of each row, which are wanted too; not of AttendCaches
	Dropped       *bool     // what DropMass left out, at most; not of AttendCaches
}

func (q AttendRowsQuery) values() url.Values {
	var sinks *bool
	if q.Sinks != nil {
		sinks = Ptr(true)
	}
	return values("sinks", sinks, "weights", q.Weights, "dropped", q.Dropped, "lse", q.LSE, "out_dtype", q.OutDtype, "scale", q.Scale, "softcap", q.Softcap,
		"sliding_window", q.SlidingWindow, "drop_mass", q.DropMass, "q_position", q.QPosition)
}

// Attended is what AttendRows returns.
type Attended struct {
	Out Tensor  // [q_tokens, q_heads, head_dim]
	LSE *Tensor // f32 [q_tokens, q_heads], where it was asked for

	Weights *Tensor // f32 [q_tokens, q_heads, N], where they were asked for
	Dropped *Tensor // f32 [q_tokens, q_heads], where it was asked for
}

// AttendRows attends q, [q_tokens, q_heads, head_dim], on one layer.
// POST /v1/caches/{id}/layers/{layer}/attend
func (c *Client) AttendRows(ctx context.Context, id string, layer int64, q Tensor, query AttendRowsQuery) (*Attended, error) {
	if err := q.check("q", 3); err != nil {
		return nil, err
	}
	parameters := query.values()
	parameters.Set("dtype", q.DType)
	parameters.Set("q_tokens", fmt.Sprint(q.Shape[0]))
	reply, err := c.Do(ctx, Request{
		Method: "POST",
		Path:   "/v1/caches/" + segment(id) + "/layers/" + segment(layer) + "/attend",
		Query:  parameters,
		Header: http.Header{"Content-Type": {octetsMedia}},
		Body:   append(append([]byte(nil), q.Data...), F32(query.Sinks).Data...),
		Safe:   true,
	})
	if err != nil {
		return nil, err
	}
	return attended(reply, query)
}

// attended takes the blocks of a reply apart: out, then those of f32 that were asked for.
func attended(reply *Reply, query AttendRowsQuery) (*Attended, error) {
	shape, err := shapeOf(reply)
	if err != nil {
		return nil, err
	}
	if len(shape) != 3 {
		return nil, &BadReply{reply.Status, fmt.Sprintf("a shape of %v", shape)}
	}
	out, columns := &Attended{}, 0
	wanted := func(yes *bool) bool { return yes != nil && *yes }
	type block struct {
		to    **Tensor
		shape []int
	}
	var blocks []block
	add := func(to **Tensor, more int, shape ...int) {
		blocks = append(blocks, block{to, shape})
		columns += more
	}
	if wanted(query.LSE) {
		add(&out.LSE, 1, shape[0], shape[1])
	}
	if query.Weights != nil {
		add(&out.Weights, int(*query.Weights), shape[0], shape[1], int(*query.Weights))
	}
	if wanted(query.Dropped) {
		add(&out.Dropped, 1, shape[0], shape[1])
	}
	at := len(reply.Body) - 4*shape[0]*shape[1]*columns
	if at < 0 {
		return nil, &BadReply{reply.Status, "less than was asked for"}
	}
	out.Out = Tensor{reply.Header.Get("Mustafar-Dtype"), shape, reply.Body[:at]}
	if err := out.Out.check("out", 3); err != nil {
		return nil, &BadReply{reply.Status, err.Error()}
	}
	for _, block := range blocks {
		size := 4
		for _, length := range block.shape {
			size *= length
		}
		*block.to = &Tensor{"f32", block.shape, reply.Body[at : at+size]}
		at += size
	}
	return out, nil
}

func shapeOf(reply *Reply) ([]int, error) {
	text := reply.Header.Get("Mustafar-Shape")
	shape := []int{}
	for _, part := range strings.Split(text, ",") {
		size, err := strconv.ParseUint(part, 10, 24)
		if err != nil {
			return nil, &BadReply{reply.Status, fmt.Sprintf("Mustafar-Shape is %q", text)}
		}
		shape = append(shape, int(size))
	}
	if len(shape) < 2 {
		return nil, &BadReply{reply.Status, fmt.Sprintf("Mustafar-Shape is %q", text)}
	}
	return shape, nil
}
