// SPDX-License-Identifier: Apache-2.0

package mustafarclient

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"
)

// What needs a server is in the scenario (clients/scenario).

func newClient(t *testing.T, options Options) *Client {
	t.Helper()
	client, err := NewClient(options)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestNoServerIsLostAndSoon(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	client := newClient(t, Options{URL: "http://" + address, Retry: Retry{Attempts: 3, FirstWait: time.Millisecond}})
	_, err = client.GetVersion(context.Background())
	var lost *Lost
	if !errors.As(err, &lost) || !neverSent(err) {
		t.Errorf("%v", err)
	}
}

func TestASilentServerEndsWithTheTimeLimitOrTheContext(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	url := "http://" + listener.Addr().String()
	begin := time.Now()
	var lost *Lost
	_, err = newClient(t, Options{URL: url, Timeout: 200 * time.Millisecond}).GetVersion(context.Background())
	if !errors.As(err, &lost) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("time limit: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err = newClient(t, Options{URL: url}).GetVersion(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("context: %v", err)
	}
	if time.Since(begin) > 20*time.Second {
		t.Errorf("took %v", time.Since(begin))
	}
}

func TestAnAddressThatIsNoneIsRefusedAtOnce(t *testing.T) {
	for _, url := range []string{"127.0.0.1:1", "ftp://x", "http://", "http://%"} {
		if _, err := NewClient(Options{URL: url}); err == nil {
			t.Errorf("%q was taken", url)
		}
	}
}

func TestTensorsThatDoNotFitAreRefusedBeforeAnythingIsSent(t *testing.T) {
	client := newClient(t, Options{URL: "http://127.0.0.1:1"})
	good := F16(make([]uint16, 12), 3, 2, 2)
	for name, k := range map[string]Tensor{
		"dtype":       {"f64", []int{3, 2, 2}, make([]byte, 96)},
		"axes":        F16(make([]uint16, 12), 6, 2),
		"size":        F16(make([]uint16, 11), 3, 2, 2),
		"negative":    {"f16", []int{-3, -2, 2}, make([]byte, 24)},
		"overflow":    {"f16", []int{1 << 62, 4, 1}, nil},
		"other dtype": F32(make([]float32, 12), 3, 2, 2),
		"other rows":  F16(make([]uint16, 8), 2, 2, 2),
	} {
		_, err := client.AppendRows(context.Background(), "a", 0, k, good, AppendRowsQuery{Expect: Ptr[int64](0)})
		var lost *Lost
		if err == nil || errors.As(err, &lost) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSafetensorsReadBackAndSpoiledOnesAreRefused(t *testing.T) {
	a, b := F32([]float32{1, 2, 3, 4, 5, 6}, 2, 3), BF16([]uint16{7, 8}, 2)
	body, err := PackTensors([]NamedTensor{{"b", b}, {"a", a}}, map[string]string{"x": "y"})
	if err != nil {
		t.Fatal(err)
	}
	if want := `"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":`; !strings.Contains(string(body), want) {
		t.Errorf("bytes are not in the order of the header: %q", body)
	}
	found, err := UnpackTensors(body)
	if err != nil || !reflect.DeepEqual(found, map[string]Tensor{"a": a, "b": b}) {
		t.Errorf("%v, %v", found, err)
	}
	if !reflect.DeepEqual(a.Floats(), []float32{1, 2, 3, 4, 5, 6}) || !reflect.DeepEqual(b.Words(), []uint16{7, 8}) {
		t.Error("elements")
	}
	for length := 0; length < len(body); length++ {
		if _, err := UnpackTensors(body[:length]); err == nil {
			t.Errorf("%d bytes were taken", length)
		}
	}
}

func TestNullableTellsAbsentNullAndValueApart(t *testing.T) {
	type patch struct {
		TTL Nullable[float64] `json:"ttl,omitempty"`
	}
	for want, value := range map[string]patch{`{}`: {}, `{"ttl":null}`: {Null[float64]()}, `{"ttl":3}`: {Some(3.0)}} {
		text, err := json.Marshal(value)
		if err != nil || string(text) != want {
			t.Errorf("%s, %v", text, err)
		}
		var back patch
		if err := json.Unmarshal([]byte(want), &back); err != nil || !reflect.DeepEqual(back, value) {
			t.Errorf("%s: %v, %v", want, back, err)
		}
	}
}

func TestTheWaitGrowsAndIsBounded(t *testing.T) {
	retry := Retry{Attempts: 4, FirstWait: time.Second, LongestWait: 5 * time.Second}
	for attempt, most := range map[int]time.Duration{1: 1250 * time.Millisecond, 2: 2500 * time.Millisecond, 9: 5 * time.Second} {
		if wait := retry.wait(attempt, 0); wait > most || wait < most/2 {
			t.Errorf("attempt %d: %v", attempt, wait)
		}
	}
	if wait := retry.wait(1, 7*time.Second); wait != 7*time.Second {
		t.Errorf("Retry-After: %v", wait)
	}
}
