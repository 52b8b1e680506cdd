//! Files of named sections: 64-byte header, table, sections on cache-line boundaries, so that a mapped file is used in
//! place. Little endian.
//!
//! Header: magic, version u32, sections u32, file length u64, XXH64 of everything after the header u64, zeros.
//! Table entry: name (16 bytes, zero-filled), offset u64, bytes u64.

use sparrow_kernels::{Buffer, MappedFile, Pod};

use crate::error::{IndexError, Result};
use crate::hash64::hash64;

const MAGIC: &[u8; 8] = b"SPARROWX";
/// Raised whenever the meaning of a section changes.
const VERSION: u32 = 2;
const HEADER: usize = 64;
const ENTRY: usize = 32;

/// Collects sections.
#[derive(Default)]
pub struct Writer {
    sections: Vec<(&'static str, Vec<u8>)>,
}

impl Writer {
    /// Adds a section; names are at most 16 bytes.
    pub fn add<T: Pod>(&mut self, name: &'static str, values: &[T]) {
        assert!(name.len() <= 16, "section name {name} is longer than 16 bytes");
        self.sections.push((name, Buffer::new(values).as_bytes().to_vec()));
    }

    /// The file.
    pub fn finish(self) -> Vec<u8> {
        let mut body = Vec::new();
        let mut offset = (HEADER + ENTRY * self.sections.len()).next_multiple_of(64);
        for (name, bytes) in &self.sections {
            let mut padded = [0u8; 16];
            padded[..name.len()].copy_from_slice(name.as_bytes());
            body.extend(padded);
            body.extend((offset as u64).to_le_bytes());
            body.extend((bytes.len() as u64).to_le_bytes());
            offset += bytes.len().next_multiple_of(64);
        }
        for (_, bytes) in &self.sections {
            body.resize((HEADER + body.len()).next_multiple_of(64) - HEADER, 0);
            body.extend(bytes);
        }
        body.resize((HEADER + body.len()).next_multiple_of(64) - HEADER, 0);
        seal(&body, self.sections.len() as u32)
    }
}

/// Puts a header before a body.
pub fn seal(body: &[u8], sections: u32) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend(VERSION.to_le_bytes());
    file.extend(sections.to_le_bytes());
    file.extend(((HEADER + body.len()) as u64).to_le_bytes());
    file.extend(hash64(body).to_le_bytes());
    file.resize(HEADER, 0);
    file.extend(body);
    file
}

/// Where the bytes are.
pub enum Source<'a> {
    /// In memory: sections are copied out.
    Bytes(&'a [u8]),
    /// In a mapped file: sections are used in place.
    File(&'a MappedFile),
}

impl Source<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Source::Bytes(bytes) => bytes,
            Source::File(file) => file.bytes(),
        }
    }
}

/// A checked file.
pub struct Reader<'a> {
    source: Source<'a>,
    /// (name, offset, bytes).
    table: Vec<(Vec<u8>, usize, usize)>,
}

impl<'a> Reader<'a> {
    /// Checks header, checksum and table.
    pub fn open(source: Source<'a>) -> Result<Self> {
        let bytes = source.bytes();
        let wrong = |what: String| IndexError::Format(format!("index file: {what}"));
        if bytes.len() < HEADER || &bytes[..8] != MAGIC {
            return Err(wrong("it does not start with the magic \"SPARROWX\"".into()));
        }
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        if u32_at(8) != VERSION {
            return Err(wrong(format!("version {}, expected {VERSION}", u32_at(8))));
        }
        if u64_at(16) != bytes.len() as u64 {
            return Err(wrong(format!("{} bytes, the header says {}", bytes.len(), u64_at(16))));
        }
        let hash = hash64(&bytes[HEADER..]);
        if hash != u64_at(24) {
            return Err(wrong(format!("checksum {hash:016x}, the header says {:016x}", u64_at(24))));
        }
        let sections = u32_at(12) as usize;
        if sections > (bytes.len() - HEADER) / ENTRY {
            return Err(wrong(format!("{sections} sections do not fit {} bytes", bytes.len())));
        }
        let mut table = Vec::with_capacity(sections);
        for section in 0..sections {
            let at = HEADER + section * ENTRY;
            let name: Vec<u8> = bytes[at..at + 16].iter().copied().take_while(|byte| *byte != 0).collect();
            let (offset, len) = (u64_at(at + 16), u64_at(at + 24));
            let end = offset.checked_add(len).filter(|end| *end <= bytes.len() as u64);
            if end.is_none() || !offset.is_multiple_of(64) {
                return Err(wrong(format!("section {section} spans {len} bytes from {offset} of {}", bytes.len())));
            }
            table.push((name, offset as usize, len as usize));
        }
        Ok(Self { source, table })
    }

    /// The elements of a section.
    pub fn section<T: Pod>(&self, name: &str) -> Result<Buffer<T>> {
        let wrong = |what: &str| IndexError::Format(format!("index file: section \"{name}\" {what}"));
        let found = self.table.iter().find(|entry| entry.0 == name.as_bytes());
        let (_, offset, len) = found.ok_or_else(|| wrong("is missing"))?;
        if !len.is_multiple_of(size_of::<T>()) {
            return Err(wrong("is not whole elements"));
        }
        let buffer = match &self.source {
            Source::Bytes(bytes) => Buffer::from_bytes(&bytes[*offset..offset + len]),
            Source::File(file) => Buffer::mapped(file, *offset, len / size_of::<T>()),
        };
        buffer.ok_or_else(|| wrong("cannot be used in place"))
    }
}
