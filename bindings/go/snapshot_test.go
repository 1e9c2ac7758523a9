// SPDX-License-Identifier: Apache-2.0

package mustafar

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func TestSaveAndLoad(t *testing.T) {
	cache := newTestCache(t, "lean", CacheOptions{})
	fill(t, cache, 1, 150)
	data := snapshot(t, cache)
	path := filepath.Join(t.TempDir(), "a snapshot")
	check(t, cache.SaveFile("model", path))
	file := must[[]byte](t)(os.ReadFile(path))
	if !bytes.Equal(file, data) {
		t.Error("the file has other bytes")
	}
	context, model := newTestContext(t, ContextOptions{}), "model"
	made := must[Description](t)(cache.Describe())
	for name, options := range map[string]LoadOptions{
		"nothing": {},
		"all": {Geometry: &made.Geometry, Recipe: parsed(t, made.Recipe), ModelID: &model,
			Options: &CacheOptions{}},
	} {
		for kind, r := range map[string]io.Reader{
			"whole": bytes.NewReader(data), "bytes": iotest.OneByteReader(bytes.NewReader(data)),
			"early": iotest.DataErrReader(bytes.NewReader(data)),
		} {
			again, err := Load(context, options, r)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, kind, err)
			}
			if !bytes.Equal(snapshot(t, again), data) {
				t.Errorf("%s, %s: other bytes", name, kind)
			}
			check(t, again.Close())
		}
		again := must[*Cache](t)(LoadFile(context, options, path))
		check(t, again.Close())
	}
}

func TestLoadReadsNotMore(t *testing.T) {
	cache := newTestCache(t, "dense", CacheOptions{})
	fill(t, cache, 1, 10)
	r := strings.NewReader(string(snapshot(t, cache)) + "behind")
	again := must[*Cache](t)(Load(newTestContext(t, ContextOptions{}), LoadOptions{}, r))
	defer again.Close()
	if rest := must[[]byte](t)(io.ReadAll(r)); string(rest) != "behind" {
		t.Errorf("left: %q", rest)
	}
}

func TestWhatCannotBeLoaded(t *testing.T) {
	cache := newTestCache(t, "lean", CacheOptions{})
	fill(t, cache, 1, 100)
	data, context, other := snapshot(t, cache), newTestContext(t, ContextOptions{}), "another"
	geometry := Geometry{Layers: 2, QHeads: 4, KVHeads: 2, HeadDimK: 32}
	for _, options := range []LoadOptions{{ModelID: &other}, {Geometry: &geometry}, {Recipe: parsed(t, "dense")},
		{Options: &CacheOptions{Manual: true}}} {
		_, err := Load(context, options, bytes.NewReader(data))
		refused(t, err, ErrMismatch)
	}
	_, err := Load(context, LoadOptions{Options: &CacheOptions{MaxTokens: 5}}, bytes.NewReader(data))
	refused(t, err, ErrCapacity)
	for cut := 0; cut < len(data); cut += 97 {
		_, err = Load(context, LoadOptions{}, bytes.NewReader(data[:cut]))
		refused(t, err, ErrCorrupt)
	}
	for at := 0; at < len(data); at += 61 {
		damaged := append([]byte(nil), data...)
		damaged[at] ^= 0x5a
		if _, err = Load(context, LoadOptions{}, bytes.NewReader(damaged)); err == nil {
			t.Errorf("byte %d: nothing was noticed", at)
		}
	}
	if stats := must[ContextStats](t)(context.Stats()); stats.Caches != 0 || stats.PageBytes+stats.CacheBytes != 0 {
		t.Errorf("left: %+v", stats)
	}
	_, err = LoadFile(context, LoadOptions{}, filepath.Join(t.TempDir(), "nothing"))
	refused(t, err, ErrIO)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	refused(t, cache.SaveFile("", t.TempDir()+"/no/such/folder"), ErrIO)
	refused(t, cache.SaveFile("a\x00b", "c"), ErrInvalidArgument)
	refused(t, cache.SaveFile("", "a\x00b"), ErrInvalidArgument)
	refused(t, cache.Save(strings.Repeat("x", ModelIDMax+1), io.Discard), ErrInvalidArgument)
	refused(t, cache.Save("", nil), ErrInvalidArgument)
	_, err = Load(context, LoadOptions{}, nil)
	refused(t, err, ErrInvalidArgument)
}

var errTorn = errors.New("the cable is torn")

// faulty takes or gives some bytes and then does something else.
type faulty struct {
	left int
	then func() (int, error)
}

func (f *faulty) step(p []byte) (int, error) {
	if f.left < len(p) {
		return f.then()
	}
	f.left -= len(p)
	return len(p), nil
}

func (f *faulty) Write(p []byte) (int, error) { return f.step(p) }
func (f *faulty) Read(p []byte) (int, error)  { return f.step(p) }

func large(t *testing.T) *Cache {
	cache := newTestCache(t, "dense", CacheOptions{MaxTokens: 8000})
	fill(t, cache, 1, 8000) // 2 MB: several chunks
	return cache
}

func TestErrorsOfReadersAndWritersComeBack(t *testing.T) {
	cache, context := large(t), newTestContext(t, ContextOptions{})
	for _, left := range []int{0, 1 << 19, 1 << 20} {
		torn := &faulty{left, func() (int, error) { return 3, errTorn }}
		err := cache.Save("", torn)
		refused(t, err, ErrIO)
		if !errors.Is(err, errTorn) {
			t.Errorf("%v does not wrap the error of the writer", err)
		}
		refused(t, cache.Save("", &faulty{left, func() (int, error) { return 0, nil }}), io.ErrShortWrite)
	}
	_, err := Load(context, LoadOptions{}, io.MultiReader(bytes.NewReader(snapshot(t, cache)[:5000]), iotest.ErrReader(errTorn)))
	refused(t, err, ErrIO)
	if !errors.Is(err, errTorn) {
		t.Errorf("%v does not wrap the error of the reader", err)
	}
	for _, count := range []int{-1, 1 << 40} {
		_, err = Load(context, LoadOptions{}, &faulty{0, func() (int, error) { return count, nil }})
		refused(t, err, ErrIO)
	}
	_, err = Load(context, LoadOptions{}, &faulty{0, func() (int, error) { return 0, nil }})
	refused(t, err, io.ErrNoProgress)
}

// A panic of a reader or writer is the caller's and never crosses C; the library is usable behind it.
func TestPanicsComeBack(t *testing.T) {
	cache, context := large(t), newTestContext(t, ContextOptions{})
	for _, left := range []int{0, 1 << 20} {
		gone := &faulty{left, func() (int, error) { panic(errTorn) }}
		for _, call := range []func(){
			func() { _ = cache.Save("", gone) },
			func() { _, _ = Load(context, LoadOptions{}, gone) },
		} {
			func() {
				defer func() {
					if got := recover(); left == 0 && got != errTorn {
						t.Errorf("recovered %v", got)
					}
				}()
				call()
			}()
		}
	}
	fill(t, newTestCache(t, "dense", CacheOptions{}), 1, 3)
	check(t, cache.Reset()) // nobody is inside any more
	if stats := must[ContextStats](t)(context.Stats()); stats.Caches != 0 {
		t.Errorf("left: %+v", stats)
	}
}

func TestGoexitOfAWriter(t *testing.T) {
	cache, done := large(t), make(chan struct{})
	go func() {
		defer close(done)
		_ = cache.Save("", &faulty{0, func() (int, error) { runtime.Goexit(); return 0, nil }})
	}()
	<-done
	check(t, cache.Reset())
}

// Readers and writers may use the library, but not change the cache that is being saved.
func TestWritersMayUseTheLibrary(t *testing.T) {
	cache := large(t)
	var inside error
	check(t, cache.Save("", writerFunc(func(p []byte) (int, error) {
		inside = cache.Reset()
		_, err := cache.Length(0)
		check(t, err)
		return len(p), nil
	})))
	refused(t, inside, ErrBusy)
	refused(t, inside, ErrBadState)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestLog(t *testing.T) {
	var lines []string
	recipe := parsed(t, "lean")
	context := newTestContext(t, ContextOptions{LogLevel: LogTrace, Log: func(level LogLevel, text string) {
		if _, err := recipe.Window(small, 0, 0); err != nil { // the library may be used
			t.Error(err)
		}
		lines = append(lines, text)
	}})
	cache := must[*Cache](t)(NewCache(context, small, recipe, CacheOptions{MaxTokens: 100}))
	lines = nil
	fill(t, cache, 1, 40)
	if len(lines) != 1 || !strings.Contains(lines[0], "append") {
		t.Errorf("%q", lines)
	}
	check(t, context.Close())
	check(t, cache.Truncate(0)) // the context is closed, its log is not
	if len(lines) != 2 {
		t.Errorf("%q", lines)
	}
	check(t, cache.Close())
}
