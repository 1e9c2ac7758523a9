// SPDX-License-Identifier: Apache-2.0
// Which of several points nobody beats in both directions.

export interface Point {
  x: number;
  y: number;
}

// True for each point that no other one dominates: less or equal in both, less in one. Less is better.
// Points that are not finite are never on the frontier and dominate nothing. O(n log n).
export function frontier(points: readonly Point[]): boolean[] {
  const best = points.map(() => false);
  const order = points
    .map((point, index) => ({ ...point, index }))
    .filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y))
    .sort((a, b) => a.x - b.x || a.y - b.y);
  let lowest = Infinity; // of everything further left
  for (let at = 0; at < order.length; ) {
    const first = order[at]!;
    const better = first.y < lowest;
    // Points at the same place dominate each other as little as themselves.
    while (at < order.length && order[at]!.x === first.x) {
      const point = order[at]!;
      if (better && point.y === first.y) best[point.index] = true;
      at += 1;
    }
    lowest = Math.min(lowest, first.y);
  }
  return best;
}
