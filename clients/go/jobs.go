// SPDX-License-Identifier: Apache-2.0

package mustafarclient

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	quiet   = 45 * time.Second // without a line; the server sends one every 15
	poll    = 25 * time.Second
	lineMax = 1 << 24
)

// PostJobsOptions: options of PostJobs.
type PostJobsOptions struct {
	IdempotencyKey string // of your own, for a program that may be started again; a random one unless given
}

// PostJobs starts an experiment, once, however often the request is sent. POST /v1/jobs
func (c *Client) PostJobs(ctx context.Context, body JobRequest, options PostJobsOptions) (*Job, error) {
	key := options.IdempotencyKey
	if key == "" {
		var random [16]byte
		if _, err := rand.Read(random[:]); err != nil {
			return nil, err
		}
		key = hex.EncodeToString(random[:])
	}
	header := http.Header{"Idempotency-Key": {strconv.Quote(key)}}
	return pointer[Job](c, ctx, call{method: "POST", path: "/v1/jobs", body: body, header: header, safe: true})
}

// Event of a job. Kind: progress, row, result, done, reset. Data of done and reset is the job.
type Event struct {
	ID   int64
	Kind string
	Data json.RawMessage
}

// Job is what done and reset carry.
func (e Event) Job() (*Job, error) {
	out := new(Job)
	return out, json.Unmarshal(e.Data, out)
}

// FollowJob hands over the events of one stream, those behind number `after`, until `done`, until see returns an
// error, or until the stream is cut (*Lost). WatchJob goes on by itself. GET /v1/jobs/{id}/events
func (c *Client) FollowJob(ctx context.Context, id string, after int64, see func(Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchdog := time.AfterFunc(quiet, cancel)
	defer watchdog.Stop()
	request := Request{Method: "GET", Path: "/v1/jobs/" + segment(id) + "/events", Header: http.Header{}}
	request.Header.Set("Accept", "text/event-stream")
	if after > 0 {
		request.Header.Set("Last-Event-ID", fmt.Sprint(after))
	}
	what := "the events of " + id
	response, err := c.open(ctx, request)
	if err != nil {
		return &Lost{what, err}
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return &Lost{what, err}
		}
		return problemOf(&Reply{response.StatusCode, response.Header, body})
	}
	if media := response.Header.Get("Content-Type"); !strings.HasPrefix(media, "text/event-stream") {
		return &BadReply{response.StatusCode, "events came as " + media}
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, lineMax)
	event := Event{}
	for lines.Scan() {
		watchdog.Reset(quiet)
		if lines.Text() != "" {
			event.add(lines.Text())
			continue
		}
		if event.Data != nil {
			if err := see(event); err != nil {
				return err
			}
			if event.Kind == "done" {
				return nil
			}
		}
		event = Event{ID: event.ID}
	}
	if lines.Err() != nil {
		return &Lost{what, lines.Err()}
	}
	return &Lost{what, io.ErrUnexpectedEOF}
}

// add takes one line of a server-sent event.
func (e *Event) add(line string) {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch name {
	case "id":
		if number, err := strconv.ParseInt(value, 10, 64); err == nil {
			e.ID = number
		}
	case "event":
		e.Kind = value
	case "data":
		if e.Data != nil {
			e.Data = append(e.Data, '\n')
		}
		e.Data = append(e.Data, value...)
	}
}

// stopped wraps what the caller's function returned, which is no fault of the stream.
type stopped struct{ error }

// WatchJob hands over all events of a job up to `done`, whatever happens to connections in between. Where streams
// cannot be had it asks again and again, and row and result events are left out.
func (c *Client) WatchJob(ctx context.Context, id string, after int64, see func(Event) error) error {
	last, failures, ended := after, 0, false
	take := func(event Event) error {
		failures = 0
		if event.ID > last {
			last = event.ID
		}
		ended = event.Kind == "done"
		if err := see(event); err != nil {
			return stopped{err}
		}
		return nil
	}
	for !ended {
		err := c.FollowJob(ctx, id, last, take)
		var lost *Lost
		var stop stopped
		var bad *BadReply
		var problem *Problem
		switch {
		case err == nil:
		case errors.As(err, &stop):
			return stop.error
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &problem) && problem.Status == http.StatusServiceUnavailable, errors.As(err, &bad):
			return c.poll(ctx, id, last, see) // too many streams, or a proxy that knows none
		case errors.As(err, &lost) && failures+1 < c.retry.Attempts:
			failures++
			time.Sleep(c.retry.wait(failures, 0))
		default:
			return err
		}
	}
	return nil
}

func (c *Client) poll(ctx context.Context, id string, last int64, see func(Event) error) error {
	wait := poll
	if wait > c.timeout/2 {
		wait = c.timeout / 2
	}
	for {
		job, err := c.GetJob(ctx, id, GetJobQuery{Wait: Ptr(wait.Seconds()), Version: &last})
		if err != nil {
			return err
		}
		ended := job.State == "done" || job.State == "failed" || job.State == "cancelled" || job.State == "interrupted"
		if job.Version == last && !ended {
			continue
		}
		last = job.Version
		event := Event{ID: last, Kind: "progress"}
		if ended {
			event.Kind = "done"
			event.Data, err = json.Marshal(job)
		} else {
			event.Data, err = json.Marshal(map[string]any{"progress": job.Progress, "what": job.What,
				"items_done": job.ItemsDone, "items": job.Items, "state": job.State})
		}
		if err != nil {
			return err
		}
		if err := see(event); err != nil || ended {
			return err
		}
	}
}

// WaitJob waits until a job has ended.
func (c *Client) WaitJob(ctx context.Context, id string) (*Job, error) {
	var job *Job
	err := c.WatchJob(ctx, id, 0, func(event Event) (err error) {
		if event.Kind == "done" {
			job, err = event.Job()
		}
		return err
	})
	return job, err
}
