// SPDX-License-Identifier: Apache-2.0

// Package mustafarclient is a client of mustafard, the HTTP service of libmustafar. NewClient is where to begin.
// Methods bear the operationId of /openapi.json; errors are *Problem, *Lost and *BadReply.
package mustafarclient

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// DefaultURL is where mustafard listens unless told otherwise.
const DefaultURL = "http://127.0.0.1:8642"

// Options of a client; the zero value is good.
type Options struct {
	URL     string        // DefaultURL unless given
	Unix    string        // path of a UNIX socket, instead of URL
	Token   string        // sent as a bearer token
	Timeout time.Duration // of one call with all its attempts; 60 s unless given, a context may end it earlier
	Retry   Retry
}

// Retry says how often a request is repeated, and how long to wait in between. A request that never left, and one
// answered with 503 (nothing was done then), is always repeated; one whose answer was lost only if to do it twice is
// to do it once.
type Retry struct {
	Attempts    int           // 4 unless given; 1: never
	FirstWait   time.Duration // 100 ms unless given; doubled each time, and spread by half
	LongestWait time.Duration // 10 s unless given; a server that asks for more (Retry-After) gets no further attempt
}

// Client may be used from several goroutines.
type Client struct {
	base    string
	token   string
	timeout time.Duration
	retry   Retry
	http    *http.Client
}

// NewClient makes a client; nothing is sent yet.
func NewClient(options Options) (*Client, error) {
	if options.URL == "" {
		options.URL = DefaultURL
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	transport := &http.Transport{
		DialContext:         dialer.DialContext,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     20 * time.Second, // the server closes an idle connection after 30
		DisableCompression:  true,
	}
	if options.Unix != "" {
		options.URL = "http://localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", options.Unix)
		}
	}
	address, err := url.Parse(options.URL)
	if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return nil, fmt.Errorf("%q is no address; http://HOST:PORT is expected", options.URL)
	}
	if options.Timeout == 0 {
		options.Timeout = 60 * time.Second
	}
	if options.Retry.Attempts == 0 {
		options.Retry.Attempts = 4
	}
	if options.Retry.FirstWait == 0 {
		options.Retry.FirstWait = 100 * time.Millisecond
	}
	if options.Retry.LongestWait == 0 {
		options.Retry.LongestWait = 10 * time.Second
	}
	return &Client{
		base:    strings.TrimRight(options.URL, "/"),
		token:   options.Token,
		timeout: options.Timeout,
		retry:   options.Retry,
		http:    &http.Client{Transport: transport, CheckRedirect: noRedirect},
	}, nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close closes the connections that wait for the next request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Ptr is for optional fields and parameters: Limit: Ptr[int64](10).
func Ptr[T any](value T) *T { return &value }
