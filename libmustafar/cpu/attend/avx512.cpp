// SPDX-License-Identifier: Apache-2.0
// attend_avx512: fp32 arithmetic, and integers for dense rows of 4 and 2 bits unless a recipe asks for
// precise.
#include "cpu/attend/avx512_tile.hpp"

#include "cpu/attend/driver.hpp"

namespace mustafar {

void attend_avx512(const AttendArgs& args) {
    cpu::attend_part(args, nullptr,
                     args.head.precise ? cpu::tile_ops<cpu::F32> : cpu::tile_ops<cpu::F32Codes>);
}

} // namespace mustafar
