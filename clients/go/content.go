// SPDX-License-Identifier: Apache-2.0

package mustafarclient

import (
	"context"
	"net/http"
)

// HeadQuery: one head of a layer, and rows of it; nil: head 0, all rows.
type HeadQuery struct {
	Side     string // k or v
	KvHead   *int64
	From, To *int64
	OutDtype *string // of GetTensor: f16, bf16 or f32, which is the default
}

// GetTensor: rows [to - from, head_dim] of one head as attend sees them.
// GET /v1/caches/{id}/layers/{layer}/tensor
func (c *Client) GetTensor(ctx context.Context, id string, layer int64, query HeadQuery) (*Tensor, error) {
	reply, err := c.Do(ctx, query.request(id, layer, "tensor", "*/*"))
	if err != nil {
		return nil, err
	}
	shape, err := shapeOf(reply)
	if err != nil {
		return nil, err
	}
	tensor := &Tensor{reply.Header.Get("Mustafar-Dtype"), shape, reply.Body}
	if len(shape) != 2 || dtypeBytes(tensor.DType)*shape[0]*shape[1] != len(reply.Body) {
		return nil, &BadReply{reply.Status, "a tensor of another size than it says"}
	}
	return tensor, nil
}

// GetBitmapRows: survivors of one head, head_dim / 8 bytes a row, lowest channel in the lowest bit.
// GET /v1/caches/{id}/layers/{layer}/bitmap as octets
func (c *Client) GetBitmapRows(ctx context.Context, id string, layer int64, query HeadQuery) ([]byte, error) {
	reply, err := c.Do(ctx, query.request(id, layer, "bitmap", octetsMedia))
	if err != nil {
		return nil, err
	}
	return reply.Body, nil
}

func (q HeadQuery) request(id string, layer int64, what, accept string) Request {
	return Request{
		Method: "GET",
		Path:   "/v1/caches/" + segment(id) + "/layers/" + segment(layer) + "/" + what,
		Query:  values("side", q.Side, "kv_head", q.KvHead, "from", q.From, "to", q.To, "out_dtype", q.OutDtype),
		Header: http.Header{"Accept": {accept}},
		Safe:   true,
	}
}

// GetSnapshotContent: the file of a snapshot. GET /v1/snapshots/{name}/content
func (c *Client) GetSnapshotContent(ctx context.Context, name string) ([]byte, error) {
	reply, err := c.Do(ctx, Request{Method: "GET", Path: "/v1/snapshots/" + segment(name) + "/content", Safe: true})
	if err != nil {
		return nil, err
	}
	return reply.Body, nil
}

// PutSnapshotContentQuery: parameters of PutSnapshotContent.
type PutSnapshotContentQuery struct {
	Overwrite *bool
}

// PutSnapshotContent uploads a snapshot; the server loads it aside before it keeps it.
// PUT /v1/snapshots/{name}/content
func (c *Client) PutSnapshotContent(ctx context.Context, name string, content []byte, query PutSnapshotContentQuery) (*Snapshot, error) {
	out := new(Snapshot)
	path := "/v1/snapshots/" + segment(name) + "/content"
	return out, c.upload(ctx, Request{Path: path, Query: values("overwrite", query.Overwrite), Body: content}, out)
}

// PutTrace keeps a trace, a safetensors file of recorded keys, values and queries. PUT /v1/traces/{name}
func (c *Client) PutTrace(ctx context.Context, name string, content []byte) (*Trace, error) {
	out := new(Trace)
	return out, c.upload(ctx, Request{Path: "/v1/traces/" + segment(name), Body: content}, out)
}

func (c *Client) upload(ctx context.Context, request Request, out any) error {
	request.Method, request.Safe = "PUT", true
	request.Header = http.Header{"Content-Type": {octetsMedia}}
	reply, err := c.Do(ctx, request)
	if err != nil {
		return err
	}
	return decode(reply, out)
}

// GetResultCsv: the rows of a result as a table. GET /v1/results/{id}, text/csv
func (c *Client) GetResultCsv(ctx context.Context, id string) (string, error) {
	header := http.Header{"Accept": {"text/csv"}}
	return c.text(ctx, call{method: "GET", path: "/v1/results/" + segment(id), header: header, safe: true})
}
