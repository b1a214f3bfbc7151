//! Owns numbers in as few bytes as they need, as Avro and Thrift write them. Leaves where they stand to each test.

/// A number, seven bits a byte, the lowest first.
pub fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// One that may be below zero, with its sign in the lowest bit.
pub fn zigzag(number: i64) -> Vec<u8> {
    varint(((number << 1) ^ (number >> 63)) as u64)
}
