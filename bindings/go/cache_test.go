// SPDX-License-Identifier: Apache-2.0

package mustafar

import (
	"bytes"
	"math"
	"reflect"
	"testing"
)

func snapshot(t testing.TB, cache *Cache) []byte {
	t.Helper()
	var out bytes.Buffer
	check(t, cache.Save("model", &out))
	return out.Bytes()
}

// attention in float64 over exported rows, as attend.h says it.
func oracle(t testing.TB, cache *Cache, q []float32) []float32 {
	const d, group = 32, 2
	out := make([]float32, len(q))
	for head := 0; head < 4; head++ {
		held := must[Rows](t)(cache.Rows(0, head/group))
		k, _, err := cache.Export(0, head/group, K, 0, held.Rows)
		check(t, err)
		v, _, err := cache.Export(0, head/group, V, 0, held.Rows)
		check(t, err)
		weights, sum := make([]float64, held.Rows), 0.0
		for row := range weights {
			dot := 0.0
			for c := 0; c < d; c++ {
				dot += float64(q[head*d+c]) * float64(k[row*d+c])
			}
			weights[row] = math.Exp(dot / math.Sqrt(d))
			sum += weights[row]
		}
		for c := 0; c < d; c++ {
			total := 0.0
			for row, w := range weights {
				total += w * float64(v[row*d+c])
			}
			out[head*d+c] = float32(total / sum)
		}
	}
	return out
}

func TestAttendIsAttentionOverTheRowsHeld(t *testing.T) {
	for _, recipe := range []string{"dense", "lean", "k16i8/v24", "kdi4c/vdi4g32"} {
		cache := newTestCache(t, recipe, CacheOptions{})
		fill(t, cache, 1, 200)
		q := random(3, 4*32)
		out, lse, err := cache.Attend(0, F32(q, 1, 4, 32), AttendOptions{})
		check(t, err)
		near(t, recipe, out, oracle(t, cache, q), 0.02)
		if len(lse) != 4 || math.IsNaN(float64(lse[0])) {
			t.Errorf("lse %v", lse)
		}
	}
}

func TestChunksGiveTheBytesOfOneAppend(t *testing.T) {
	whole, parts := newTestCache(t, "lean", CacheOptions{}), newTestCache(t, "lean", CacheOptions{})
	fill(t, whole, 7, 150)
	k, v := random(7, 150*64), random(8, 150*64)
	for begin := 0; begin < 150; begin += 30 {
		part := func(data []float32) Tensor { return F32(data, 30, 2, 32).From(begin * 64) }
		check(t, parts.Append(0, part(k), part(v)))
	}
	if !bytes.Equal(snapshot(t, whole), snapshot(t, parts)) {
		t.Error("other bytes")
	}
}

func TestStridesAreSeen(t *testing.T) {
	plain, strided := newTestCache(t, "dense", CacheOptions{}), newTestCache(t, "dense", CacheOptions{})
	data := random(5, 10*64)
	backwards := make([]float32, len(data)) // tokens from the last to the first
	for token := 0; token < 10; token++ {
		copy(backwards[(9-token)*64:], data[token*64:(token+1)*64])
	}
	view := F32(backwards, 10, 2, 32).From(9*64).Strided(-64, 32, 1)
	check(t, plain.Append(0, F32(data, 10, 2, 32), F32(data, 10, 2, 32)))
	check(t, strided.Append(0, view, view))
	if !bytes.Equal(snapshot(t, plain), snapshot(t, strided)) {
		t.Error("other bytes")
	}
	repeated := newTestCache(t, "dense", CacheOptions{}) // stride 0
	check(t, repeated.Append(0, F32(data[:64], 3, 2, 32).Strided(0, 32, 1), F32(data[:64], 3, 2, 32).Strided(0, 32, 1)))
	values, _, err := repeated.Export(0, 0, K, 0, 3)
	check(t, err)
	near(t, "row 2", values[64:], values[:32], 0)
}

func TestHalvesAreBits(t *testing.T) {
	cache := newTestCache(t, "dense", CacheOptions{})
	k, v := make([]uint16, 64), make([]uint16, 64)
	for i := range k {
		k[i], v[i] = 0x3c00, 0x3fc0 // 1.0 as f16, 1.5 as bf16
	}
	check(t, cache.Append(0, F16(k, 1, 2, 32), BF16(v, 1, 2, 32)))
	values, bitmaps, err := cache.Export(0, 1, V, 0, 1)
	check(t, err)
	if values[5] != 1.5 || len(bitmaps) != 4 || bitmaps[0] != 0xff {
		t.Errorf("%v, %v", values[5], bitmaps)
	}
	out := make([]uint16, 4*32)
	q := F32(make([]float32, 128), 1, 1, 4, 32)
	check(t, Attend([]*Cache{cache}, 0, q, AttendOptions{}, AttendOutputs{Out: F16(out, 1, 1, 4, 32)}))
	if out[0] != 0x3e00 {
		t.Errorf("out is %#x, expected 1.5", out[0])
	}
}

func TestTentativeTokensLeaveNoTrace(t *testing.T) {
	cache := newTestCache(t, "lean", CacheOptions{})
	fill(t, cache, 1, 100)
	before := snapshot(t, cache)
	check(t, cache.Append(0, rows(2, 5), rows(3, 5), AppendTentative))
	if got := must[Length](t)(cache.Length(0)); got != (Length{100, 5}) || got.Total() != 105 {
		t.Errorf("%+v", got)
	}
	refused(t, cache.Append(0, rows(2, 1), rows(3, 1)), ErrBadState)
	check(t, cache.Truncate(100))
	if !bytes.Equal(before, snapshot(t, cache)) {
		t.Error("a trace")
	}
	check(t, cache.Append(0, rows(2, 5), rows(3, 5), AppendTentative))
	check(t, cache.Commit(All))
	if got := must[Length](t)(cache.Length(0)); got != (Length{105, 0}) {
		t.Errorf("%+v", got)
	}
}

func TestTruncateNamesTheSmallestExactLength(t *testing.T) {
	cache := newTestCache(t, "lean", CacheOptions{})
	fill(t, cache, 1, 200)
	err := cache.Truncate(50)
	refused(t, err, ErrNotExact)
	least := int(err.(*Error).Values[0])
	check(t, cache.Truncate(least))
	check(t, cache.Truncate(50, TruncateKeepPacked))
	check(t, cache.Reset())
	if got := must[Length](t)(cache.Length(0)); got.Total() != 0 {
		t.Errorf("%+v", got)
	}
}

func TestPruneMarksAndCompressPacks(t *testing.T) {
	cache := newTestCache(t, "k16/v16", CacheOptions{Manual: true})
	fill(t, cache, 1, 100)
	if got := must[Rows](t)(cache.Rows(0, 0)); got != (Rows{100, 0}) {
		t.Errorf("%+v", got)
	}
	weights := make([]float32, 2*32)
	for i := range weights {
		weights[i] = float32(i % 32)
	}
	options := PruneOptions{Method: PruneTokenTopK, Keep: 16, ChannelWeights: F32(weights, 2, 32)}
	check(t, cache.Prune(0, All, K, 0, 64, options))
	check(t, cache.Prune(0, 1, V, 0, 64, PruneOptions{}))
	mask := bytes.Repeat([]byte{0x0f}, 32*4) // sixteen of 32
	check(t, cache.Prune(0, 0, V, 0, 32, PruneOptions{Method: PruneMask, Mask: U8(mask, 1, 32, 4)}))
	_, bitmaps, err := cache.Export(0, 0, V, 0, 32)
	check(t, err)
	if !bytes.Equal(bitmaps, mask) {
		t.Error("another mask")
	}
	check(t, cache.Compress(All))
	if got := must[Rows](t)(cache.Rows(0, 0)); got != (Rows{100, 68}) {
		t.Errorf("%+v", got)
	}
	refused(t, cache.Prune(0, All, K, 0, 64, options), ErrBadState)
	refused(t, cache.Prune(0, All, K, 0, 64, PruneOptions{Keep: 3}), ErrInvalidArgument)
}

func TestEvict(t *testing.T) {
	cache := newTestCache(t, "dense", CacheOptions{})
	fill(t, cache, 1, 100)
	check(t, cache.Evict(0, 0, []int32{1, 3, 5}))
	check(t, cache.Evict(0, 0, []int32{0, 2, 4, 99}, EvictKeep))
	positions := must[[]int32](t)(cache.Positions(0, 0))
	if len(positions) != 3+32 || !reflect.DeepEqual(positions[:4], []int32{0, 2, 4, 68}) {
		t.Errorf("%v", positions)
	}
	scores := make([]float32, 100)
	scores[7] = 1
	check(t, cache.EvictScores(0, 1, scores, 33))
	if got := must[[]int32](t)(cache.Positions(0, 1)); len(got) != 33 || got[0] != 7 {
		t.Errorf("%v", got)
	}
	refused(t, cache.EvictScores(0, 1, scores, 33), ErrInvalidArgument) // a score per row
	check(t, cache.Evict(0, 0, nil))
}

func TestForkIsIndependent(t *testing.T) {
	parent := newTestCache(t, "lean", CacheOptions{})
	fill(t, parent, 1, 100)
	before := snapshot(t, parent)
	child := must[*Cache](t)(parent.Fork())
	defer child.Close()
	if !bytes.Equal(before, snapshot(t, child)) {
		t.Error("the child differs")
	}
	fill(t, child, 5, 40)
	if !bytes.Equal(before, snapshot(t, parent)) {
		t.Error("the parent changed")
	}
}

func TestManyCachesAtOnce(t *testing.T) {
	context, recipe := newTestContext(t, ContextOptions{}), parsed(t, "lean")
	var caches []*Cache
	for i := 0; i < 3; i++ {
		cache := must[*Cache](t)(NewCache(context, small, recipe, CacheOptions{MaxTokens: 512}))
		defer cache.Close()
		fill(t, cache, int64(i), 50+30*i)
		caches = append(caches, cache)
	}
	q, out := random(9, 3*128), make([]float32, 3*128)
	lse, weights := make([]float32, 3*4), make([]float32, 3*4*110)
	check(t, Attend(caches, 0, F32(q, 3, 1, 4, 32), AttendOptions{Softcap: 30, SlidingWindow: 40},
		AttendOutputs{Out: F32(out, 3, 1, 4, 32), LSE: F32(lse, 3, 1, 4), Weights: F32(weights, 3, 1, 4, 110)}))
	for i, cache := range caches {
		single, _, err := cache.Attend(0, F32(q[i*128:], 1, 4, 32), AttendOptions{Softcap: 30, SlidingWindow: 40})
		check(t, err)
		near(t, "out", out[i*128:(i+1)*128], single, 0)
	}
	sum := float32(0)
	for _, w := range weights[:110] {
		sum += w
	}
	if math.Abs(float64(sum)-1) > 1e-3 {
		t.Errorf("weights sum to %g", sum)
	}
	check(t, Attend(nil, 0, Tensor{}, AttendOptions{}, AttendOutputs{}))
}

func TestMergeJoinsParts(t *testing.T) {
	whole := newTestCache(t, "dense", CacheOptions{})
	fill(t, whole, 1, 60)
	q := F32(random(2, 128), 1, 4, 32)
	want, wantLSE, err := whole.Attend(0, q, AttendOptions{})
	check(t, err)
	a, b := newTestCache(t, "dense", CacheOptions{}), newTestCache(t, "dense", CacheOptions{})
	k, v := random(1, 60*64), random(2, 60*64)
	check(t, a.Append(0, F32(k, 20, 2, 32), F32(v, 20, 2, 32)))
	check(t, b.Append(0, F32(k[20*64:], 40, 2, 32), F32(v[20*64:], 40, 2, 32)))
	at := AttendOptions{At: true, QPosition: 1000}
	outA, lseA, err := a.Attend(0, q, at)
	check(t, err)
	outB, lseB, err := b.Attend(0, q, at)
	check(t, err)
	check(t, Merge(newTestContext(t, ContextOptions{}), F32(outA, 4, 32), F32(lseA, 4), F32(outB, 4, 32), F32(lseB, 4),
		F32(outA, 4, 32), F32(lseA, 4)))
	near(t, "out", outA, want, 2e-3) // fast rows sum in halves
	near(t, "lse", lseA, wantLSE, 2e-3)
}

func TestPlanSaysWhatTheCacheTakes(t *testing.T) {
	recipe := parsed(t, "lean")
	plan := must[Bytes](t)(Plan(recipe, small, CacheOptions{MaxTokens: 512}, 300, All))
	cache := newTestCache(t, "lean", CacheOptions{})
	fill(t, cache, 1, 300)
	got := must[Bytes](t)(cache.Bytes(All, All))
	if !plan.Exact || plan.Total != got.Total || plan.Values != got.Values {
		t.Errorf("plan %+v, cache %+v", plan, got)
	}
	stats := must[CacheStats](t)(cache.Stats())
	if stats.Longest != 300 || stats.Rows != 600 || stats.AttendKernel == "" || stats.AppendedTokens != 300 {
		t.Errorf("%+v", stats)
	}
}

func TestRecipes(t *testing.T) {
	recipe := parsed(t, "lean")
	side := must[SideInfo](t)(recipe.Side(Geometry{Layers: 1, QHeads: 1, KVHeads: 1, HeadDimK: 128}, 0, 0, K))
	want := SideInfo{HeadDim: 128, Keep: 64, Bits: 4, Encoding: EncodingExact, Method: PruneTokenTopK, RowBytes: 52}
	side.PageBytes = 0
	if side != want {
		t.Errorf("%+v", side)
	}
	if got := must[Window](t)(recipe.Window(small, 0, 0)); got != (Window{Recent: 32, Step: 32}) {
		t.Errorf("%+v", got)
	}
	again := parsed(t, recipe.JSON())
	if again.Digest() != recipe.Digest() || len(recipe.Digest()) != 32 || again.JSON() != recipe.JSON() {
		t.Errorf("%s, %s", again.Digest(), recipe.Digest())
	}
	for _, named := range NamedRecipes() {
		parsed(t, named.Name)
		if named.Sentence == "" {
			t.Errorf("%s has no sentence", named.Name)
		}
	}
}
