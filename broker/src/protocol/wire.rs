//! How each type of the tables stands on the wire, compact or not.

use super::reader::LengthSize;
use super::{DecodeError, Reader, Records, Str, Uuid, Writer};
use bytes::Bytes;
use std::marker::PhantomData;

/// A message's version, and whether it is one with compact lengths and tagged fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) number: i16,
    pub(super) flexible: bool,
}

/// A type that stands on the wire.
pub(super) trait Wire: Sized {
    /// The fewest bytes a value takes; what the count of an array is checked against.
    fn size_min(version: Version) -> usize;
    fn read(reader: &mut Reader, version: Version) -> Result<Self, DecodeError>;
    fn write(&self, writer: &mut Writer, version: Version);
}

/// A type that can be null in some versions of a field.
pub(super) trait Nullable: Wire + Default {
    fn read_nullable(reader: &mut Reader, version: Version) -> Result<Option<Self>, DecodeError>;
    fn write_null(writer: &mut Writer, version: Version);

    /// Null is a length of its own for everything that has a length, so it is no shorter.
    fn null_size(version: Version) -> usize {
        Self::size_min(version)
    }

    /// What stands before a value that is not null and would not be there otherwise.
    fn write_present(_writer: &mut Writer) {}

    fn read_required(reader: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        Self::read_nullable(reader, version)?.ok_or(DecodeError::UnexpectedNull)
    }
}

/// The fewest bytes of a field that is null in some versions only.
pub(super) fn optional_size_min<T: Nullable>(
    _field: PhantomData<Option<T>>,
    nullable: bool,
    version: Version,
) -> usize {
    if nullable { T::null_size(version) } else { T::size_min(version) }
}

/// Writes a field that is null in some versions only: elsewhere null becomes the empty value.
pub(super) fn write_optional<T: Nullable>(
    value: Option<&T>,
    nullable: bool,
    writer: &mut Writer,
    version: Version,
) {
    match (value, nullable) {
        (Some(value), true) => {
            T::write_present(writer);
            value.write(writer, version);
        }
        (Some(value), false) => value.write(writer, version),
        (None, true) => T::write_null(writer, version),
        (None, false) => T::default().write(writer, version),
    }
}

/// Whether a tagged field is worth writing; the default is of the field's own type.
pub(super) fn differs<T: PartialEq>(value: &T, default: &T) -> bool {
    value != default
}

macro_rules! number {
    ($($type:ty)*) => {
        $(impl Wire for $type {
            fn size_min(_version: Version) -> usize {
                size_of::<Self>()
            }

            fn read(reader: &mut Reader, _version: Version) -> Result<Self, DecodeError> {
                Ok(Self::from_be_bytes(reader.array()?))
            }

            fn write(&self, writer: &mut Writer, _version: Version) {
                writer.put(&self.to_be_bytes());
            }
        })*
    };
}
number!(i8 i16 u16 i32 i64 f64);

impl Wire for bool {
    fn size_min(_version: Version) -> usize {
        1
    }

    fn read(reader: &mut Reader, _version: Version) -> Result<Self, DecodeError> {
        let [byte] = reader.array()?;
        Ok(byte != 0)
    }

    fn write(&self, writer: &mut Writer, _version: Version) {
        writer.put(&[u8::from(*self)]);
    }
}

impl Wire for Uuid {
    fn size_min(_version: Version) -> usize {
        16
    }

    fn read(reader: &mut Reader, _version: Version) -> Result<Self, DecodeError> {
        Ok(Self(reader.array()?))
    }

    fn write(&self, writer: &mut Writer, _version: Version) {
        writer.put(&self.0);
    }
}

impl Wire for Str {
    fn size_min(version: Version) -> usize {
        if version.flexible { 1 } else { 2 }
    }

    fn read(reader: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        Self::read_required(reader, version)
    }

    fn write(&self, writer: &mut Writer, version: Version) {
        let length = self.as_bytes().len();
        if i16::try_from(length).is_err() {
            writer.fail(super::EncodeError::TooLong(length));
        }
        write_string_length(writer, version, Some(length));
        writer.put(self.as_bytes());
    }
}

fn write_string_length(writer: &mut Writer, version: Version, length: Option<usize>) {
    if version.flexible {
        writer.compact_length(length);
    } else {
        writer.short_length(length);
    }
}

impl Nullable for Str {
    fn read_nullable(reader: &mut Reader, version: Version) -> Result<Option<Self>, DecodeError> {
        let Some(length) = reader.length(version.flexible, LengthSize::Two)? else {
            return Ok(None);
        };
        if i16::try_from(length).is_err() {
            return Err(DecodeError::StringTooLong(length));
        }
        Self::from_utf8(reader.take(length)?).map(Some)
    }

    fn write_null(writer: &mut Writer, version: Version) {
        write_string_length(writer, version, None);
    }
}

fn write_long_length(writer: &mut Writer, version: Version, length: Option<usize>) {
    if version.flexible {
        writer.compact_length(length);
    } else {
        writer.long_length(length);
    }
}

const fn long_length_size_min(version: Version) -> usize {
    if version.flexible { 1 } else { 4 }
}

impl Wire for Bytes {
    fn size_min(version: Version) -> usize {
        long_length_size_min(version)
    }

    fn read(reader: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        Self::read_required(reader, version)
    }

    fn write(&self, writer: &mut Writer, version: Version) {
        write_long_length(writer, version, Some(self.len()));
        writer.put_shared(self);
    }
}

impl Nullable for Bytes {
    fn read_nullable(reader: &mut Reader, version: Version) -> Result<Option<Self>, DecodeError> {
        match reader.length(version.flexible, LengthSize::Four)? {
            Some(length) => reader.take(length).map(Some),
            None => Ok(None),
        }
    }

    fn write_null(writer: &mut Writer, version: Version) {
        write_long_length(writer, version, None);
    }
}

impl Wire for Records {
    fn size_min(version: Version) -> usize {
        long_length_size_min(version)
    }

    fn read(reader: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        reader.charge(size_of::<Bytes>())?;
        Ok(Bytes::read_nullable(reader, version)?.map_or_else(Self::default, Self::from))
    }

    fn write(&self, writer: &mut Writer, version: Version) {
        write_long_length(writer, version, Some(self.len()));
        self.0.iter().for_each(|slice| writer.put_shared(slice));
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn size_min(version: Version) -> usize {
        long_length_size_min(version)
    }

    fn read(reader: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        Self::read_required(reader, version)
    }

    fn write(&self, writer: &mut Writer, version: Version) {
        write_long_length(writer, version, Some(self.len()));
        self.iter().for_each(|item| item.write(writer, version));
    }
}

impl<T: Wire> Nullable for Vec<T> {
    fn read_nullable(reader: &mut Reader, version: Version) -> Result<Option<Self>, DecodeError> {
        let Some(count) = reader.length(version.flexible, LengthSize::Four)? else {
            return Ok(None);
        };
        let mut items = reader.reserve(count, T::size_min(version))?;
        for _ in 0..count {
            items.push(T::read(reader, version)?);
        }
        Ok(Some(items))
    }

    fn write_null(writer: &mut Writer, version: Version) {
        write_long_length(writer, version, None);
    }
}
