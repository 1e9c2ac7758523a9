// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/kernels.hpp"
#include "cpu/attend/tile.hpp"

namespace mustafar::cpu {

// One part of one kv head. `fast` may be null; it may overflow half precision, and then `safe` does
// the part again. Where float does not suffice either, the first query's maximum is NaN.
void attend_part(const AttendArgs& args, const TileOps* fast, const TileOps& safe);

} // namespace mustafar::cpu
