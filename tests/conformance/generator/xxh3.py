# SPDX-License-Identifier: Apache-2.0
"""XXH3, 64 bits, seed 0, from the xxHash specification (doc/xxhash_spec.md of Cyan4973/xxHash)."""

import struct

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
P32 = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)
P64 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
MX1, MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def u32(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def u64(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<Q", data, at)[0])


def fold(a: int, b: int) -> int:
    product = a * b
    return (product & M64) ^ (product >> 64)


def avalanche(h: int) -> int:
    h ^= h >> 37
    h = h * MX1 & M64
    return h ^ (h >> 32)


def avalanche64(h: int) -> int:
    h ^= h >> 33
    h = h * P64[1] & M64
    h ^= h >> 29
    h = h * P64[2] & M64
    return h ^ (h >> 32)


def swap(value: int, width: int) -> int:
    return int.from_bytes(value.to_bytes(width, "little"), "big")


def rotate(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & M64


def small(data: bytes) -> int:
    n = len(data)
    if n == 0:
        return avalanche64(u64(SECRET, 56) ^ u64(SECRET, 64))
    if n <= 3:
        word = data[0] << 16 | data[n >> 1] << 24 | data[n - 1] | n << 8
        return avalanche64(word ^ u32(SECRET, 0) ^ u32(SECRET, 4))
    if n <= 8:
        word = u32(data, n - 4) + (u32(data, 0) << 32)
        h = word ^ u64(SECRET, 8) ^ u64(SECRET, 16)
        h ^= rotate(h, 49) ^ rotate(h, 24)
        h = h * MX2 & M64
        h ^= (h >> 35) + n
        h = h * MX2 & M64
        return h ^ (h >> 28)
    low = u64(data, 0) ^ u64(SECRET, 24) ^ u64(SECRET, 32)
    high = u64(data, n - 8) ^ u64(SECRET, 40) ^ u64(SECRET, 48)
    return avalanche((n + swap(low, 8) + high + fold(low, high)) & M64)


def mix16(data: bytes, at: int, secret: int) -> int:
    return fold(u64(data, at) ^ u64(SECRET, secret), u64(data, at + 8) ^ u64(SECRET, secret + 8))


def medium(data: bytes) -> int:
    n = len(data)
    h = n * P64[0] & M64
    if n <= 128:
        for i in reversed(range((n - 1) // 32 + 1)):
            h += mix16(data, 16 * i, 32 * i) + mix16(data, n - 16 * (i + 1), 32 * i + 16)
        return avalanche(h & M64)
    for i in range(8):
        h += mix16(data, 16 * i, 16 * i)
    h = avalanche(h & M64)
    for i in range(8, n // 16):
        h += mix16(data, 16 * i, 16 * (i - 8) + 3)
    return avalanche((h + mix16(data, n - 16, 136 - 17)) & M64)


def accumulate(acc: "list[int]", data: bytes, at: int, secret: int) -> None:
    for i in range(8):
        value = u64(data, at + 8 * i)
        key = value ^ u64(SECRET, secret + 8 * i)
        acc[i ^ 1] = (acc[i ^ 1] + value) & M64
        acc[i] = (acc[i] + (key & M32) * (key >> 32)) & M64


def long(data: bytes) -> int:
    acc = [P32[2], P64[0], P64[1], P64[2], P64[3], P32[1], P64[4], P32[0]]
    stripes = (len(SECRET) - 64) // 8
    block = 64 * stripes
    blocks = (len(data) - 1) // block
    for b in range(blocks):
        for s in range(stripes):
            accumulate(acc, data, b * block + 64 * s, 8 * s)
        for i in range(8):
            a = acc[i] ^ acc[i] >> 47 ^ u64(SECRET, len(SECRET) - 64 + 8 * i)
            acc[i] = a * P32[0] & M64
    for s in range((len(data) - 1 - blocks * block) // 64):
        accumulate(acc, data, blocks * block + 64 * s, 8 * s)
    accumulate(acc, data, len(data) - 64, len(SECRET) - 64 - 7)
    h = len(data) * P64[0] & M64
    for i in range(4):
        first = acc[2 * i] ^ u64(SECRET, 11 + 16 * i)
        h += fold(first, acc[2 * i + 1] ^ u64(SECRET, 11 + 16 * i + 8))
    return avalanche(h & M64)


def xxh3_64(data: bytes) -> int:
    if len(data) <= 16:
        return small(data)
    return medium(data) if len(data) <= 240 else long(data)
