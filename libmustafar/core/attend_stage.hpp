// SPDX-License-Identifier: Apache-2.0
// Outputs of an attend whose row can fail half-way, as one on a device can: they are made beside the
// caller's and copied when nothing can fail any more, so that a failed call has written nothing.
#pragma once

#include "core/context.hpp"

namespace mustafar {

class AttendStage {
  public:
    // Gives args outputs in memory of the context; what they were is kept for publish().
    AttendStage(Context& context, AttendArgs& args);
    void publish() const;

  private:
    struct Output {
        const mustafar_tensor* wanted = nullptr; // null = not asked for
        mustafar_tensor staged{};                // contiguous, of the same type
    };
    Output outputs_[4];
    Context::Room room_;
};

} // namespace mustafar
