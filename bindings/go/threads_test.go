// SPDX-License-Identifier: Apache-2.0

package mustafar

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var storm = flag.Int("storm", 40000, "failing calls of TestErrorStorm")

func share(lse float64) float64 { return 1 / (1 + math.Exp(-lse)) }

// together runs f on n goroutines at once.
func together(n int, f func(i int)) {
	var group sync.WaitGroup
	for i := 0; i < n; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			f(i)
		}(i)
	}
	group.Wait()
}

// Every message belongs to the call that failed, though goroutines change threads between any two of them.
func TestErrorStorm(t *testing.T) {
	const goroutines = 8
	context, recipe := newTestContext(t, ContextOptions{Threads: 1}), parsed(t, "dense")
	var wrong int64
	together(goroutines, func(i int) {
		cache, err := NewCache(context, small, recipe, CacheOptions{MaxTokens: 1 + i})
		if err != nil {
			t.Error(err)
			return
		}
		defer cache.Close()
		rows := F32(make([]float32, 64*64), 50+i, 2, 32)
		var e *Error
		for n := 0; n < *storm/goroutines; n++ {
			kind, text := ErrInvalidArgument, ""
			switch n % 4 {
			case 0: // a layer that is this call's own
				layer := 1 + i + goroutines*n
				_, err = cache.Length(layer)
				text = fmt.Sprintf("layer = %d", layer)
			case 1:
				err = cache.Append(0, rows, rows)
				kind, text = ErrCapacity, fmt.Sprint(50+i)
			case 2:
				layer := 1 + i + goroutines*n
				err = Attend([]*Cache{cache}, layer, rows, AttendOptions{}, AttendOutputs{Out: rows})
				text = "mustafar_attend"
			case 3:
				_, err = ParseRecipe(fmt.Sprintf("recipe-%d-%d", i, n))
				text = fmt.Sprintf("recipe-%d-%d", i, n)
			}
			if !errors.As(err, &e) || e.Code != kind || !strings.Contains(e.Message, text) ||
				kind == ErrCapacity && (e.Values[0] != int64(50+i) || e.Values[2] != int64(1+i)) {
				if atomic.AddInt64(&wrong, 1) < 5 {
					t.Errorf("goroutine %d, call %d: %v; expected %v with %q", i, n, err, kind, text)
				}
			}
		}
	})
	t.Logf("%d failing calls from %d goroutines: %d messages of another call", *storm, goroutines, wrong)
}

// Questions overlap on one cache and give what they give alone.
func TestReadersOverlap(t *testing.T) {
	cache := newTestCache(t, "lean", CacheOptions{})
	fill(t, cache, 1, 200)
	q := random(5, 128)
	want, _, err := cache.Attend(0, F32(q, 1, 4, 32), AttendOptions{})
	check(t, err)
	data := string(snapshot(t, cache))
	together(4, func(i int) {
		for n := 0; n < 50; n++ {
			out, _, err := cache.Attend(0, F32(q, 1, 4, 32), AttendOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			near(t, "out", out, want, 0)
			fork, err := cache.Fork()
			if err != nil {
				t.Error(err)
				return
			}
			if n%10 == 0 && string(snapshot(t, fork)) != data {
				t.Error("another snapshot")
			}
			if err := fork.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// One call is inside, and others come: what may overlap gets in, the rest is refused at once.
func TestWhoMayOverlap(t *testing.T) {
	cache := newTestCache(t, "dense", CacheOptions{})
	check(t, cache.change("test"))
	_, err := cache.Length(0)
	refused(t, err, ErrBusy)
	refused(t, cache.Reset(), ErrBusy)
	refused(t, cache.Close(), ErrBusy)
	refused(t, Attend([]*Cache{cache}, 0, rows(1, 1), AttendOptions{}, AttendOutputs{}), ErrBusy)
	cache.changed()
	check(t, cache.use("test"))
	_, err = cache.Length(0)
	check(t, err)
	refused(t, cache.Reset(), ErrBusy)
	refused(t, cache.Close(), ErrBusy)
	cache.done()
	check(t, cache.Reset())
}

// Two goroutines that change one cache, or close what others use: each call is done whole or refused with
// ErrBusy or ErrClosed, and no memory is harmed.
func TestMisuseIsRefused(t *testing.T) {
	for round := 0; round < 10; round++ {
		context := must[*Context](t)(NewContext(ContextOptions{Threads: 1}))
		recipe := parsed(t, "lean")
		cache := must[*Cache](t)(NewCache(context, small, recipe, CacheOptions{MaxTokens: 70 * 180}))
		var appended int64
		q, k := random(5, 128), rows(1, 70)
		allowed := func(err error) bool {
			if err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
			return err == nil
		}
		together(6, func(i int) {
			for n := 0; n < 60; n++ {
				switch i {
				case 0, 1, 2:
					if allowed(cache.Append(0, k, k)) {
						atomic.AddInt64(&appended, 70)
					}
				case 3:
					if length, err := cache.Length(0); err == nil && length.Total() > 70 {
						_, _, err = cache.Attend(0, F32(q, 1, 4, 32), AttendOptions{})
						allowed(err)
					}
				case 4:
					_, err := context.Stats()
					allowed(err)
					_, err = recipe.Window(small, 0, 0)
					allowed(err)
				case 5:
					if n == 59 && round%2 == 1 {
						allowed(cache.Close())
						allowed(context.Close())
						allowed(recipe.Close())
					}
				}
			}
		})
		if length, err := cache.Length(0); err == nil && int64(length.Total()) != appended {
			t.Errorf("%d tokens, %d were taken", length.Total(), appended)
		}
		check(t, cache.Close())
		check(t, context.Close())
	}
}
