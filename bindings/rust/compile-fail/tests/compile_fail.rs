// SPDX-License-Identifier: Apache-2.0
//! Each file in cases/ must be refused with the message beside it. TRYBUILD=overwrite writes the messages anew;
//! then rustc-minor says of which compiler they are.

#[test]
fn misuse_does_not_compile() {
    trybuild::TestCases::new().compile_fail("cases/*.rs");
}
