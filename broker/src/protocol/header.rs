//! What stands before the message in every frame.

use super::wire::{Nullable, Version, Wire, write_optional};
use super::{DecodeError, Reader, Str, Writer, api_info};

/// The header of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the wire's header has had no other field in ten years"
)]
pub struct RequestHeader {
    /// Which api is asked; [`api_info`] says whether it is served.
    pub api_key: i16,
    /// In which version; not checked by the header.
    pub api_version: i16,
    /// Repeated in the answer.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<Str>,
}

/// The client id has a two-byte length even where everything else is compact (B-1).
const INFLEXIBLE: Version = Version { number: 0, flexible: false };

impl RequestHeader {
    /// Reads the header. Nothing is said about whether api and version are served, so that an
    /// ApiVersions request from the future can still be answered (B-3).
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are no header.
    pub fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let header = Self {
            api_key: Wire::read(reader, INFLEXIBLE)?,
            api_version: Wire::read(reader, INFLEXIBLE)?,
            correlation_id: Wire::read(reader, INFLEXIBLE)?,
            client_id: Nullable::read_nullable(reader, INFLEXIBLE)?,
        };
        if header.is_flexible() {
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(header)
    }

    /// Writes the header.
    pub fn encode(&self, writer: &mut Writer) {
        self.api_key.write(writer, INFLEXIBLE);
        self.api_version.write(writer, INFLEXIBLE);
        self.correlation_id.write(writer, INFLEXIBLE);
        write_optional(self.client_id.as_ref(), true, writer, INFLEXIBLE);
        if self.is_flexible() {
            writer.unsigned_varint(0);
        }
    }

    fn is_flexible(&self) -> bool {
        api_info(self.api_key).is_some_and(|api| api.is_flexible(self.api_version))
    }
}

/// The header of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the wire's header has had no other field in ten years"
)]
pub struct ResponseHeader {
    /// The request's number.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of an answer to `api_key` in `version`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the bytes are no header.
    pub fn decode(reader: &mut Reader, api_key: i16, version: i16) -> Result<Self, DecodeError> {
        let correlation_id = Wire::read(reader, INFLEXIBLE)?;
        if Self::is_flexible(api_key, version) {
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(Self { correlation_id })
    }

    /// Writes the header of an answer to `api_key` in `version`.
    pub fn encode(&self, writer: &mut Writer, api_key: i16, version: i16) {
        self.correlation_id.write(writer, INFLEXIBLE);
        if Self::is_flexible(api_key, version) {
            writer.unsigned_varint(0);
        }
    }

    /// The answer to ApiVersions keeps the old header: its reader does not know yet what the broker
    /// can do (B-2).
    fn is_flexible(api_key: i16, version: i16) -> bool {
        api_key != super::api_versions::API.key
            && api_info(api_key).is_some_and(|api| api.is_flexible(version))
    }
}
