// SPDX-License-Identifier: Apache-2.0
// attend_avx512: fp32 arithmetic throughout.
#include "cpu/attend/avx512_tile.hpp"

#include "cpu/attend/driver.hpp"

namespace mustafar {

void attend_avx512(const AttendArgs& args) {
    cpu::attend_part(args, nullptr, cpu::tile_ops<cpu::F32>);
}

} // namespace mustafar
