// SPDX-License-Identifier: Apache-2.0

package mustafar

import (
	"errors"
	"math"
	"strings"
	"testing"
)

// names wants an error of that kind whose text names the argument.
func names(t *testing.T, err error, kind error, argument string) {
	t.Helper()
	refused(t, err, kind)
	if err != nil && !strings.Contains(err.Error(), argument) {
		t.Errorf("the text does not name %s: %v", argument, err)
	}
}

func TestWrongTensorsNameTheArgument(t *testing.T) {
	cache := newTestCache(t, "lean", CacheOptions{})
	fill(t, cache, 1, 100)
	before := string(snapshot(t, cache))
	good, data := rows(1, 3), random(1, 3*64)
	for argument, wrong := range map[string]Tensor{
		"k.ndim":     F32(data, 3, 64),
		" k.shape":   F32(data, 3, 4, 16),
		"k.dtype":    U8(make([]uint8, 3*64), 3, 2, 32),
		"k leaves":   F32(data, 4, 2, 32),
		"k begins":   F32(data, 3, 2, 32).From(192),
		"k is":       F32(data, 3, 2, 32).Strided(math.MaxInt64, 1, math.MinInt64),
		"k has":      F32(data, 1, 1, 3, 2, 32),
		"k  has":     F32(data),
		"k   has":    F32(data, 3, 2, 32).Strided(64, 1),
		"k":          {},
		"k.shape":    F32(data, -3, 2, 32),
		"shape":      F32(data, 0, 2, 32),
		"k ":         F32(data, math.MaxInt64, math.MaxInt64, math.MaxInt64),
		"k  is":      F32(data, 2, math.MaxInt64, 1).Strided(1, 1, 1),
		"k  leaves":  F32(nil, 3, 2, 32),
		"k   leaves": F32(data, 3, 2, 32).Strided(-64, 32, 1),
		"k    ":      F32(data, 1<<32, 1<<32, 1),
	} {
		names(t, cache.Append(0, wrong, good), ErrInvalidArgument, strings.Join(strings.Fields(argument), " "))
		refused(t, cache.Append(0, good, wrong), ErrInvalidArgument)
		_, _, err := cache.Attend(0, wrong, AttendOptions{})
		if wrong.view.ndim != 3 || wrong.wrong != "" {
			names(t, err, ErrInvalidArgument, "q")
		}
		refused(t, Attend([]*Cache{cache}, 0, wrong, AttendOptions{}, AttendOutputs{Out: good}), ErrInvalidArgument)
		refused(t, Attend([]*Cache{cache}, 0, good, AttendOptions{}, AttendOutputs{Out: wrong}), ErrInvalidArgument)
	}
	if before != string(snapshot(t, cache)) {
		t.Error("a refused call changed the cache")
	}
}

// A slice that lies in a struct with Go pointers must be as good as any other.
func TestSlicesOfStructsWithPointers(t *testing.T) {
	type holder struct {
		name *string
		data [64]float32
		next *holder
	}
	h := &holder{name: new(string), next: &holder{}}
	cache := newTestCache(t, "dense", CacheOptions{})
	check(t, cache.Append(0, F32(h.data[:], 1, 2, 32), F32(h.data[:], 1, 2, 32)))
}

func TestNumbersOutOfRange(t *testing.T) {
	cache := newTestCache(t, "dense", CacheOptions{})
	good := rows(1, 3)
	for _, layer := range []int{-1, 1, math.MaxInt32, math.MaxInt64, math.MinInt64, All} {
		names(t, cache.Append(layer, good, good), ErrInvalidArgument, "layer")
		_, err := cache.Length(layer)
		names(t, err, ErrInvalidArgument, "layer")
		if layer != 1 {
			_, err = cache.Rows(0, layer)
			names(t, err, ErrInvalidArgument, "kv_head")
			_, err = cache.Positions(0, layer)
			names(t, err, ErrInvalidArgument, "kv_head")
		}
		_, _, err = cache.Export(0, 0, K, 0, layer)
		names(t, err, ErrInvalidArgument, "end")
		names(t, cache.Evict(layer, 0, nil), ErrInvalidArgument, "layer")
		if layer != All {
			names(t, cache.Compress(layer), ErrInvalidArgument, "layer")
			names(t, cache.Commit(layer), ErrInvalidArgument, "layer")
			_, err = cache.Bytes(layer, 0)
			names(t, err, ErrInvalidArgument, "layer")
		}
	}
	names(t, cache.Truncate(-1), ErrInvalidArgument, "length")
	_, _, err := cache.Export(0, 0, 7, 0, 0)
	names(t, err, ErrInvalidArgument, "side")
	refused(t, cache.Append(0, good, good, 1<<30), ErrUnsupported)
	refused(t, cache.Truncate(0, 1<<30), ErrUnsupported)
	names(t, cache.EvictScores(0, 0, nil, -5), ErrInvalidArgument, "budget")
	names(t, cache.Prune(0, 0, K, 5, 3, PruneOptions{Method: -1}), ErrInvalidArgument, "options.method")
	_, _, err = cache.Attend(0, F32(random(1, 128), 1, 4, 32), AttendOptions{SlidingWindow: -1})
	names(t, err, ErrInvalidArgument, "sliding_window")
	_, _, err = cache.Attend(0, F32(random(1, 128), 1<<50, 4, 32).Strided(0, 32, 1), AttendOptions{At: true})
	names(t, err, ErrInvalidArgument, "q.shape")
	_, _, err = cache.Attend(0, F32(random(1, 128), 1, 4, 32), AttendOptions{QPosition: 3})
	names(t, err, ErrInvalidArgument, "q_position")
}

func TestNonFiniteSaysWhere(t *testing.T) {
	cache := newTestCache(t, "lean", CacheOptions{})
	for _, wrong := range []float32{float32(math.NaN()), float32(math.Inf(1)), 1e30} {
		v := random(2, 5*64)
		v[2*64+32+7] = wrong
		err := cache.Append(0, rows(1, 5), F32(v, 5, 2, 32))
		refused(t, err, ErrNonFinite)
		if err.(*Error).Values != [4]int64{1, 2, 1, 7} {
			t.Errorf("%v", err.(*Error).Values)
		}
	}
	if got := must[Length](t)(cache.Length(0)); got.Total() != 0 {
		t.Error("something was stored")
	}
	fill(t, cache, 1, 5)
	q := random(3, 128)
	q[40] = float32(math.NaN())
	_, _, err := cache.Attend(0, F32(q, 1, 4, 32), AttendOptions{})
	refused(t, err, ErrNonFinite)
	if err.(*Error).Values != [4]int64{0, 0, 1, 8} {
		t.Errorf("%v", err.(*Error).Values)
	}
}

func TestWhatCannotBeCreated(t *testing.T) {
	context, recipe := newTestContext(t, ContextOptions{}), parsed(t, "dense")
	for argument, wrong := range map[string]func(g *Geometry, o *CacheOptions){
		"layers":         func(g *Geometry, _ *CacheOptions) { g.Layers = 0 },
		"q_heads":        func(g *Geometry, _ *CacheOptions) { g.QHeads = 3 },
		"kv_heads":       func(g *Geometry, _ *CacheOptions) { g.KVHeads = -2 },
		"head_dim_k":     func(g *Geometry, _ *CacheOptions) { g.HeadDimK = 100 },
		"head_dim_v":     func(g *Geometry, _ *CacheOptions) { g.HeadDimV = math.MaxInt64 },
		"dtype":          func(g *Geometry, _ *CacheOptions) { g.DType = F32Type },
		"max_tokens":     func(_ *Geometry, o *CacheOptions) { o.MaxTokens = 0 },
		"reserve_tokens": func(_ *Geometry, o *CacheOptions) { o.ReserveTokens = 1 << 40 },
	} {
		geometry, options := small, CacheOptions{MaxTokens: 10}
		wrong(&geometry, &options)
		_, err := NewCache(context, geometry, recipe, options)
		var e *Error
		if !errors.As(err, &e) || (e.Code != ErrInvalidArgument && e.Code != ErrUnsupported) || !strings.Contains(e.Message, argument) {
			t.Errorf("%s: %v", argument, err)
		}
	}
	_, err := NewContext(ContextOptions{Backend: "abacus"})
	names(t, err, ErrUnsupported, "abacus")
	_, err = NewContext(ContextOptions{Backend: strings.Repeat("x", 100)})
	names(t, err, ErrInvalidArgument, "backend")
	_, err = NewContext(ContextOptions{Backend: "re\x00f"})
	names(t, err, ErrInvalidArgument, "backend")
	_, err = NewContext(ContextOptions{Threads: -1})
	names(t, err, ErrInvalidArgument, "threads")
	_, err = NewContext(ContextOptions{LogLevel: LogTrace})
	names(t, err, ErrInvalidArgument, "log")
	_, err = context.Kernel("knead")
	names(t, err, ErrInvalidArgument, "knead")
	_, err = context.Kernel("at\x00tend")
	names(t, err, ErrInvalidArgument, "op")
	for _, text := range []string{"", "{", "k64i3/v128", "no-such-recipe", "le\x00an", "\x00", strings.Repeat("[", 1<<20)} {
		_, err = ParseRecipe(text)
		refused(t, err, ErrInvalidArgument)
	}
}

func TestQuotaAndCapacity(t *testing.T) {
	context, recipe := newTestContext(t, ContextOptions{QuotaBytes: 300 << 10}), parsed(t, "dense")
	cache := must[*Cache](t)(NewCache(context, small, recipe, CacheOptions{MaxTokens: 100000}))
	defer cache.Close()
	err := error(nil)
	for i := int64(0); err == nil; i++ {
		err = cache.Append(0, rows(i, 200), rows(i, 200))
	}
	refused(t, err, ErrOutOfMemory)
	if values := err.(*Error).Values; values[0] <= 0 || values[2] != 300<<10 {
		t.Errorf("%v", values)
	}
	other := newTestCache(t, "dense", CacheOptions{MaxTokens: 10})
	err = other.Append(0, rows(1, 11), rows(1, 11))
	refused(t, err, ErrCapacity)
	if err.(*Error).Values != [4]int64{11, 0, 10, 0} {
		t.Errorf("%v", err.(*Error).Values)
	}
}

func TestEveryAllocationMayFail(t *testing.T) {
	memory := NewCountingAllocator()
	recipe := parsed(t, "lean")
	for n := int64(0); ; n++ {
		memory.FailAfter(n)
		err := func() error {
			context, err := NewContext(ContextOptions{Allocator: memory, Threads: 1})
			if err != nil {
				return err
			}
			defer context.Close()
			cache, err := NewCache(context, small, recipe, CacheOptions{MaxTokens: 200})
			if err != nil {
				return err
			}
			defer cache.Close()
			if err := cache.Append(0, rows(1, 100), rows(2, 100)); err != nil {
				return err
			}
			_, _, err = cache.Attend(0, F32(random(1, 128), 1, 4, 32), AttendOptions{})
			return err
		}()
		if counts := memory.Counts(); counts.LiveBlocks != 0 || counts.LiveBytes != 0 {
			t.Fatalf("allocation %d: %+v are left", n, counts)
		}
		if err == nil {
			break
		}
		refused(t, err, ErrOutOfMemory)
	}
	memory.FailAfter(-1)
}

func TestClosed(t *testing.T) {
	context := must[*Context](t)(NewContext(ContextOptions{}))
	recipe := must[*Recipe](t)(ParseRecipe("lean"))
	cache := must[*Cache](t)(NewCache(context, small, recipe, CacheOptions{MaxTokens: 10}))
	for i := 0; i < 3; i++ { // in this order: the context waits for its cache
		check(t, context.Close())
		check(t, recipe.Close())
	}
	fill(t, cache, 1, 3)
	check(t, cache.Close())
	check(t, cache.Close())
	for name, dead := range map[string]struct {
		context *Context
		recipe  *Recipe
		cache   *Cache
	}{"closed": {context, recipe, cache}, "nil": {}, "zero": {&Context{}, &Recipe{}, &Cache{}}} {
		t.Run(name, func(t *testing.T) { everyCallIsClosed(t, dead.context, dead.recipe, dead.cache) })
		check(t, dead.context.Close())
		check(t, dead.recipe.Close())
		check(t, dead.cache.Close())
	}
	if !strings.HasPrefix(recipe.JSON(), "{") || len(recipe.Digest()) != 32 {
		t.Error("the text of a recipe outlives it")
	}
	(*CountingAllocator)(nil).FailAfter((&CountingAllocator{}).Counts().LiveBytes)
}

func everyCallIsClosed(t *testing.T, context *Context, recipe *Recipe, cache *Cache) {
	good := rows(1, 1)
	outputs := AttendOutputs{Out: good}
	for i, call := range []func() error{
		func() error { _, err := context.Kernel("attend"); return err },
		func() error { _, err := context.Stats(); return err },
		func() error {
			_, err := NewCache(context, small, parsed(t, "lean"), CacheOptions{MaxTokens: 1})
			return err
		},
		func() error {
			_, err := NewCache(newTestContext(t, ContextOptions{}), small, recipe, CacheOptions{MaxTokens: 1})
			return err
		},
		func() error { _, err := Load(context, LoadOptions{}, strings.NewReader("")); return err },
		func() error { _, err := LoadFile(context, LoadOptions{}, "nowhere"); return err },
		func() error { return Merge(context, good, good, good, good, good, good) },
		func() error { _, err := recipe.Side(small, 0, 0, K); return err },
		func() error { _, err := recipe.Window(small, 0, 0); return err },
		func() error { _, err := Plan(recipe, small, CacheOptions{MaxTokens: 1}, 1, All); return err },
		func() error { return cache.Append(0, good, good) },
		func() error { return cache.Commit(0) },
		func() error { return cache.Prune(0, 0, K, 0, 1, PruneOptions{}) },
		func() error { return cache.Compress(0) },
		func() error { return cache.Evict(0, 0, nil) },
		func() error { return cache.EvictScores(0, 0, nil, 0) },
		func() error { return cache.Truncate(0) },
		func() error { return cache.Reset() },
		func() error { _, err := cache.Fork(); return err },
		func() error { _, err := cache.Length(0); return err },
		func() error { _, err := cache.Rows(0, 0); return err },
		func() error { _, err := cache.Positions(0, 0); return err },
		func() error { _, _, err := cache.Export(0, 0, K, 0, 0); return err },
		func() error { _, err := cache.Describe(); return err },
		func() error { _, err := cache.Bytes(All, All); return err },
		func() error { _, err := cache.Stats(); return err },
		func() error { return cache.Save("", &strings.Builder{}) },
		func() error { return cache.SaveFile("", "nowhere") },
		func() error { return Attend([]*Cache{cache}, 0, good, AttendOptions{}, outputs) },
		func() error { _, _, err := cache.Attend(0, good, AttendOptions{}); return err },
	} {
		if err := call(); !errors.Is(err, ErrClosed) || !errors.Is(err, ErrBadState) {
			t.Errorf("call %d: %v", i, err)
		}
	}
}
