// SPDX-License-Identifier: Apache-2.0

package mustafarclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	jsonMedia    = "application/json"
	problemMedia = "application/problem+json"
	octetsMedia  = "application/octet-stream"
)

// Request is one request, for what the methods of Client do not offer (If-Match, say).
type Request struct {
	Method string
	Path   string
	Query  url.Values
	Header http.Header
	Body   []byte
	Safe   bool // it may be repeated although it may have been done
}

// Reply is the answer to a Request.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

func (r *Reply) media() string {
	return strings.TrimSpace(strings.Split(r.Header.Get("Content-Type"), ";")[0])
}

func (r *Reply) isAnswer() bool {
	// /readyz says with 503 what it says with 200.
	good := r.Status < 300 || r.Status == http.StatusNotModified || r.media() == jsonMedia
	return good && r.media() != problemMedia
}

// Do sends a request, again where that is safe. Refusals are errors.
func (c *Client) Do(ctx context.Context, request Request) (*Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for attempt := 1; ; attempt++ {
		reply, err := c.once(ctx, request)
		var asked time.Duration
		again := false
		if err != nil {
			again = ctx.Err() == nil && (request.Safe || neverSent(err))
		} else {
			if reply.isAnswer() {
				return reply, nil
			}
			err = problemOf(reply)
			again = reply.Status == http.StatusServiceUnavailable
			asked = seconds(reply.Header.Get("Retry-After"))
		}
		wait := c.retry.wait(attempt, asked)
		deadline, _ := ctx.Deadline()
		late := asked > c.retry.LongestWait || time.Now().Add(wait).After(deadline)
		if !again || late || attempt >= c.retry.Attempts {
			return nil, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
	}
}

func (r Retry) wait(attempt int, asked time.Duration) time.Duration {
	spread := 0.75 + rand.Float64()/2
	wait := time.Duration(float64(r.FirstWait<<(attempt-1)) * spread)
	if wait > r.LongestWait {
		wait = r.LongestWait
	}
	if asked > wait {
		return asked
	}
	return wait
}

func (c *Client) open(ctx context.Context, request Request) (*http.Response, error) {
	target := c.base + request.Path
	if len(request.Query) > 0 {
		target += "?" + request.Query.Encode()
	}
	out, err := http.NewRequestWithContext(ctx, request.Method, target, bytes.NewReader(request.Body))
	if err != nil {
		return nil, err
	}
	if !request.Safe {
		out.GetBody = nil // net/http itself must not send it again
	}
	for name, values := range request.Header {
		out.Header[name] = values
	}
	out.Header.Set("User-Agent", "mustafar-client-go")
	if c.token != "" {
		out.Header.Set("Authorization", "Bearer "+c.token)
	}
	return c.http.Do(out)
}

func (c *Client) once(ctx context.Context, request Request) (*Reply, error) {
	response, err := c.open(ctx, request)
	if err != nil {
		return nil, &Lost{request.Method + " " + request.Path, err}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, &Lost{request.Method + " " + request.Path, err}
	}
	return &Reply{response.StatusCode, response.Header, body}, nil
}

func neverSent(err error) bool {
	var operation *net.OpError
	return errors.As(err, &operation) && operation.Op == "dial"
}

func seconds(text string) time.Duration {
	number, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(number) * time.Second
}

// ---- for generated methods -----------------------------------------------------------------------------

type call struct {
	method, path string
	query        url.Values
	body         any
	safe         bool
	header       http.Header
}

func (c *Client) ask(ctx context.Context, one call) (*Reply, error) {
	request := Request{Method: one.method, Path: one.path, Query: one.query, Safe: one.safe, Header: http.Header{}}
	for name, values := range one.header {
		request.Header[name] = values
	}
	if one.body != nil {
		body, err := json.Marshal(one.body)
		if err != nil {
			return nil, err
		}
		request.Body = body
		request.Header.Set("Content-Type", jsonMedia)
	}
	return c.Do(ctx, request)
}

func value[T any](c *Client, ctx context.Context, one call) (T, error) {
	var out T
	reply, err := c.ask(ctx, one)
	if err != nil {
		return out, err
	}
	return out, decode(reply, &out)
}

func pointer[T any](c *Client, ctx context.Context, one call) (*T, error) {
	out, err := value[T](c, ctx, one)
	if err != nil {
		return nil, err
	}
	return &out, nil
}

func (c *Client) text(ctx context.Context, one call) (string, error) {
	reply, err := c.ask(ctx, one)
	if err != nil {
		return "", err
	}
	return string(reply.Body), nil
}

func (c *Client) nothing(ctx context.Context, one call) error {
	_, err := c.ask(ctx, one)
	return err
}

func decode(reply *Reply, out any) error {
	if err := json.Unmarshal(reply.Body, out); err != nil {
		return &BadReply{reply.Status, "not the JSON that is expected: " + err.Error()}
	}
	return nil
}

// segment is one segment of a path.
func segment(part any) string { return url.PathEscape(fmt.Sprint(part)) }

// values makes a query of pairs of name and value; nil pointers are left out.
func values(pairs ...any) url.Values {
	query := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name := pairs[i].(string)
		switch one := pairs[i+1].(type) {
		case *string:
			add(query, name, one)
		case *int64:
			add(query, name, one)
		case *bool:
			add(query, name, one)
		case *float64:
			add(query, name, one)
		default:
			query.Set(name, fmt.Sprint(one))
		}
	}
	return query
}

func add[T any](query url.Values, name string, one *T) {
	if one != nil {
		query.Set(name, fmt.Sprint(*one))
	}
}

// Nullable is a field that may be absent (nil), null (Null) or a value (Some).
type Nullable[T any] map[bool]T

// Null takes what was there away.
func Null[T any]() Nullable[T] {
	var nothing T
	return Nullable[T]{false: nothing}
}

// Some sets a value.
func Some[T any](value T) Nullable[T] { return Nullable[T]{true: value} }

// MarshalJSON is for encoding/json.
func (n Nullable[T]) MarshalJSON() ([]byte, error) {
	if value, ok := n[true]; ok {
		return json.Marshal(value)
	}
	return []byte("null"), nil
}

// UnmarshalJSON is for encoding/json.
func (n *Nullable[T]) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		*n = Null[T]()
		return nil
	}
	var value T
	err := json.Unmarshal(data, &value)
	*n = Some(value)
	return err
}
