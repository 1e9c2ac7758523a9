// SPDX-License-Identifier: Apache-2.0

package mustafar

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// What is forgotten is given back by the finalizers: nothing of the C library's stays behind.
func TestFinalizersAreANet(t *testing.T) {
	memory := NewCountingAllocator()
	recipe := parsed(t, "lean")
	for i := 0; i < 20; i++ {
		func() {
			context := must[*Context](t)(NewContext(ContextOptions{Allocator: memory, Threads: 1, Log: func(LogLevel, string) {}}))
			cache := must[*Cache](t)(NewCache(context, small, recipe, CacheOptions{MaxTokens: 100}))
			fill(t, cache, 1, 50)
			must[*Cache](t)(cache.Fork())
			must[*Recipe](t)(ParseRecipe("dense"))
		}()
	}
	if memory.Counts().LiveBlocks == 0 {
		t.Error("nothing was counted")
	}
	for end := time.Now().Add(20 * time.Second); memory.Counts().LiveBlocks != 0; {
		if time.Now().After(end) {
			t.Fatalf("left: %+v", memory.Counts())
		}
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
}

// A context that nobody holds but its caches stays until the last of them goes.
func TestCachesOutliveTheirContext(t *testing.T) {
	memory := NewCountingAllocator()
	cache := func() *Cache {
		context := must[*Context](t)(NewContext(ContextOptions{Allocator: memory}))
		return must[*Cache](t)(NewCache(context, small, parsed(t, "lean"), CacheOptions{MaxTokens: 100}))
	}()
	for i := 0; i < 5; i++ {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	fill(t, cache, 1, 50)
	check(t, cache.Close())
	for end := time.Now().Add(20 * time.Second); memory.Counts().LiveBlocks != 0 && time.Now().Before(end); {
		runtime.GC()
		time.Sleep(time.Millisecond)
	}
	if counts := memory.Counts(); counts.LiveBytes != 0 {
		t.Errorf("left: %+v", counts)
	}
}

// Calls while the collector runs all the time: arguments that nothing else holds, objects whose last use is the
// call itself.
func TestUnderGarbageCollection(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	memory := NewCountingAllocator()
	context := newTestContext(t, ContextOptions{Allocator: memory, Threads: 1})
	want := []byte(nil)
	for i := 0; i < 30; i++ {
		recipe := must[*Recipe](t)(ParseRecipe("lean"))
		cache := must[*Cache](t)(NewCache(context, small, recipe, CacheOptions{MaxTokens: 300}))
		for part := int64(0); part < 4; part++ {
			check(t, cache.Append(0, rows(part, 33), rows(part+9, 33)))
		}
		out, _, err := cache.Attend(0, F32(random(3, 128), 1, 4, 32), AttendOptions{Sinks: F32(make([]float32, 4), 4)})
		check(t, err)
		near(t, "out", out, oracleWithSinks(t, cache), 0.02)
		var data bytes.Buffer
		check(t, cache.Save("model", &data))
		if want == nil {
			want = data.Bytes()
		}
		again := must[*Cache](t)(Load(context, LoadOptions{Recipe: recipe}, &data))
		if !bytes.Equal(want, snapshot(t, must[*Cache](t)(again.Fork()))) { // the fork is garbage at once
			t.Fatal("other bytes")
		}
	}
	for end := time.Now().Add(20 * time.Second); must[ContextStats](t)(context.Stats()).Caches != 0; {
		if time.Now().After(end) {
			t.Fatalf("left: %+v", must[ContextStats](t)(context.Stats()))
		}
		time.Sleep(time.Millisecond)
	}
}

// A sink of 0 is one more score without a value: e^lse / (e^lse + 1) of the plain result.
func oracleWithSinks(t testing.TB, cache *Cache) []float32 {
	out, lse, err := cache.Attend(0, F32(random(3, 128), 1, 4, 32), AttendOptions{})
	check(t, err)
	for i := range out {
		out[i] = float32(float64(out[i]) * share(float64(lse[i/32])))
	}
	return out
}
