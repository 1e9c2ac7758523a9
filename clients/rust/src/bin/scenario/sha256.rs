// SPDX-License-Identifier: Apache-2.0
//! SHA-256 (FIPS 180-4): the standard library has none, and the crate has no dependencies.

/// The first 32 bits of the fractional parts of the cube roots of the first 64 primes, and of the square roots of the
/// first 8.
fn constants() -> ([u32; 64], [u32; 8]) {
    let mut primes = Vec::new();
    let mut n = 2u64;
    while primes.len() < 64 {
        if primes.iter().all(|p| n % p != 0) {
            primes.push(n);
        }
        n += 1;
    }
    let mut k = [0; 64];
    let mut h = [0; 8];
    for (out, p) in k.iter_mut().zip(&primes) {
        *out = root(u128::from(*p) << 96, 3);
    }
    for (out, p) in h.iter_mut().zip(&primes) {
        *out = root(u128::from(*p) << 64, 2);
    }
    (k, h)
}

/// The lower 32 bits of the whole part of a root.
fn root(of: u128, power: u32) -> u32 {
    let mut found = 0u128;
    for bit in (0..40).rev() {
        let next = found | 1 << bit;
        if next.checked_pow(power).map_or(false, |value| value <= of) {
            found = next;
        }
    }
    found as u32
}

pub fn sha256_hex(data: &[u8]) -> String {
    let (k, mut h) = constants();
    let mut padded = data.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(8 * data.len() as u64).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut w = [0u32; 64];
        for (out, four) in w.iter_mut().zip(block.chunks_exact(4)) {
            *out = u32::from_be_bytes([four[0], four[1], four[2], four[3]]);
        }
        for i in 16..64 {
            let s0 = w[i - 15].rotate_right(7) ^ w[i - 15].rotate_right(18) ^ (w[i - 15] >> 3);
            let s1 = w[i - 2].rotate_right(17) ^ w[i - 2].rotate_right(19) ^ (w[i - 2] >> 10);
            w[i] = w[i - 16].wrapping_add(s0).wrapping_add(w[i - 7]).wrapping_add(s1);
        }
        let mut s = h;
        for i in 0..64 {
            let s1 = s[4].rotate_right(6) ^ s[4].rotate_right(11) ^ s[4].rotate_right(25);
            let choice = (s[4] & s[5]) ^ (!s[4] & s[6]);
            let t1 = s[7].wrapping_add(s1).wrapping_add(choice).wrapping_add(k[i]).wrapping_add(w[i]);
            let s0 = s[0].rotate_right(2) ^ s[0].rotate_right(13) ^ s[0].rotate_right(22);
            let majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
            let t2 = s0.wrapping_add(majority);
            s = [t1.wrapping_add(t2), s[0], s[1], s[2], s[3].wrapping_add(t1), s[4], s[5], s[6]];
        }
        for (out, one) in h.iter_mut().zip(s) {
            *out = out.wrapping_add(one);
        }
    }
    h.iter().map(|word| format!("{word:08x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_digest_is_the_published_one() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::sha256_hex(b"abc"), expected);
    }
}
