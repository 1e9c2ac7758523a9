// SPDX-License-Identifier: Apache-2.0

package mustafarclient

import (
	"encoding/json"
	"fmt"
	"strings"
)

// ProblemType is what stands behind urn:mustafar:problem:. It is an error, for errors.Is:
//
//	if errors.Is(err, mustafarclient.ErrLengthMismatch) { ... }
type ProblemType string

func (t ProblemType) Error() string { return string(t) }

// Problem says why the server refused (RFC 9457).
type Problem struct {
	Type     ProblemType
	Title    string
	Status   int
	Detail   string
	Instance string
	Members  map[string]any // the numbers and names behind the text
}

func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// Is makes errors.Is compare the type.
func (p *Problem) Is(target error) bool {
	kind, ok := target.(ProblemType)
	return ok && kind == p.Type
}

// RequestID is what the log of the server calls the request.
func (p *Problem) RequestID() string { return strings.TrimPrefix(p.Instance, "urn:request:") }

// Lost: no complete answer came. Whether the server did the work is not known.
type Lost struct {
	Request string
	Err     error
}

func (l *Lost) Error() string { return fmt.Sprintf("%s: no answer: %v", l.Request, l.Err) }
func (l *Lost) Unwrap() error { return l.Err }

// BadReply: the answer is not one of mustafard, but of another server or of a proxy in between.
type BadReply struct {
	Status int
	Text   string
}

func (b *BadReply) Error() string { return fmt.Sprintf("status %d: %s", b.Status, b.Text) }

// problemOf is the error for a reply that is none of success.
func problemOf(reply *Reply) error {
	if reply.media() != problemMedia {
		return &BadReply{reply.Status, fmt.Sprintf("%q: %.80q", reply.media(), reply.Body)}
	}
	var members map[string]any
	if err := json.Unmarshal(reply.Body, &members); err != nil {
		return &BadReply{reply.Status, "a problem that is not JSON: " + err.Error()}
	}
	text := func(name string) string {
		value, _ := members[name].(string)
		delete(members, name)
		return value
	}
	delete(members, "status")
	return &Problem{
		Type:     ProblemType(strings.TrimPrefix(text("type"), problemPrefix)),
		Title:    text("title"),
		Status:   reply.Status,
		Detail:   text("detail"),
		Instance: text("instance"),
		Members:  members,
	}
}
