//! The language of the message tables.
//!
//! An api is declared once, as Kafka documents it: its key, its versions, and for each struct every
//! field with its type and the versions it stands in. From that come the struct, its default, its
//! reader and its writer.
//!
//! ```text
//! api! {
//!     "Produce", key 0, versions 3..=13, flexible 9..;
//!     request ProduceRequest {
//!         name: type [versions] nullable [versions] tag number = default;
//!     }
//!     response ProduceResponse { … }
//!     struct TopicProduceData { … }
//! }
//! ```
//!
//! Fields stand on the wire in the order of the table, except those with a tag: these close their
//! struct, each with its number and size, and only when they differ from their default. A field that
//! a version does not have is not written, and has its default after reading.

macro_rules! api {
    (
        $name:literal, key $key:literal, versions $min:literal..=$max:literal,
        $(advertised from $advertised:literal,)? flexible $flexible:expr;
        $(#[$request_doc:meta])*
        request $request:ident $request_fields:tt
        $(#[$response_doc:meta])*
        response $response:ident $response_fields:tt
        $($(#[$doc:meta])* struct $part:ident $fields:tt)*
    ) => {
        /// What is served of this api.
        pub const API: $crate::protocol::ApiInfo = $crate::protocol::ApiInfo {
            key: $key,
            name: $name,
            min: $min,
            max: $max,
            advertised_min: default_or!([$min] $($advertised)?),
            flexible_from: ($flexible).start,
        };

        wire_struct! { $(#[$request_doc])* $request $request_fields }
        message! { $request }
        wire_struct! { $(#[$response_doc])* $response $response_fields }
        message! { $response }
        $(wire_struct! { $(#[$doc])* $part $fields })*
    };
}

/// The entry points of a whole message: they check its version.
macro_rules! message {
    ($name:ident) => {
        impl $name {
            /// Reads the message; what follows it in the frame is left to the caller.
            ///
            /// # Errors
            ///
            /// [`DecodeError`](crate::protocol::DecodeError) if the version is not served or the
            /// bytes are not this message.
            pub fn decode(
                reader: &mut $crate::protocol::Reader,
                version: i16,
            ) -> Result<Self, $crate::protocol::DecodeError> {
                $crate::protocol::wire::Wire::read(reader, API.decodable(version)?)
            }

            /// Writes the message; a mistake is reported when the writer is asked for its frame.
            pub fn encode(&self, writer: &mut $crate::protocol::Writer, version: i16) {
                match API.encodable(version) {
                    Ok(version) => $crate::protocol::wire::Wire::write(self, writer, version),
                    Err(error) => writer.fail(error),
                }
            }
        }
    };
}

macro_rules! wire_struct {
    (
        $(#[$doc:meta])*
        $name:ident {
            $(
                $(#[$field_doc:meta])*
                $field:ident: $type:ty [$versions:expr]
                $(nullable [$nullable:expr])? $(tag $tag:literal)? $(= $default:expr)?;
            )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        #[expect(clippy::exhaustive_structs, reason = "built field by field; the table is the type")]
        pub struct $name {
            $(
                $(#[$field_doc])*
                #[doc = concat!("In versions `", stringify!($versions), "`", $(
                    ", nullable in `", stringify!($nullable), "`", )? $(
                    ", tag ", stringify!($tag), )? ".")]
                pub $field: $type,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: default_or!([Default::default()] $($default)?),)* }
            }
        }

        impl $crate::protocol::wire::Wire for $name {
            fn size_min(version: $crate::protocol::wire::Version) -> usize {
                let mut size = usize::from(version.flexible);
                $(field_size_min!(
                    size, version, $type, [$versions] $(nullable [$nullable])? $(tag $tag)?
                );)*
                size
            }

            fn read(
                reader: &mut $crate::protocol::Reader,
                version: $crate::protocol::wire::Version,
            ) -> Result<Self, $crate::protocol::DecodeError> {
                let mut value = Self::default();
                $(read_field!(
                    value.$field, reader, version,
                    [$versions] $(nullable [$nullable])? $(tag $tag)?
                );)*
                if version.flexible {
                    reader.tagged_fields(|_tag, _reader| {
                        $(read_tag!(
                            value.$field, _tag, _reader, version,
                            [$versions] $(nullable [$nullable])? $(tag $tag)?
                        );)*
                        Ok(false)
                    })?;
                }
                Ok(value)
            }

            fn write(
                &self,
                writer: &mut $crate::protocol::Writer,
                version: $crate::protocol::wire::Version,
            ) {
                $(write_field!(
                    self.$field, writer, version,
                    [$versions] $(nullable [$nullable])? $(tag $tag)?
                );)*
                if version.flexible {
                    let tags = [$(is_tagged!(
                        self.$field, default_or!([Default::default()] $($default)?), version,
                        [$versions] $(tag $tag)?
                    ),)*];
                    let count = tags.iter().filter(|present| **present).count();
                    writer.unsigned_varint(u32::try_from(count).unwrap_or(u32::MAX));
                    $(write_tag!(
                        self.$field, default_or!([Default::default()] $($default)?), writer, version,
                        [$versions] $(nullable [$nullable])? $(tag $tag)?
                    );)*
                }
            }
        }

        impl $crate::protocol::wire::Nullable for $name {
            fn read_nullable(
                reader: &mut $crate::protocol::Reader,
                version: $crate::protocol::wire::Version,
            ) -> Result<Option<Self>, $crate::protocol::DecodeError> {
                let present = <i8 as $crate::protocol::wire::Wire>::read(reader, version)?;
                if present < 0 {
                    return Ok(None);
                }
                <Self as $crate::protocol::wire::Wire>::read(reader, version).map(Some)
            }

            fn null_size(_version: $crate::protocol::wire::Version) -> usize {
                1
            }

            fn write_null(
                writer: &mut $crate::protocol::Writer,
                _version: $crate::protocol::wire::Version,
            ) {
                writer.put(&[0xff]);
            }

            fn write_present(writer: &mut $crate::protocol::Writer) {
                writer.put(&[1]);
            }
        }
    };
}

macro_rules! default_or {
    ([$fallback:expr]) => {
        $fallback
    };
    ([$fallback:expr] $given:expr) => {
        $given
    };
}

macro_rules! field_size_min {
    ($size:ident, $version:ident, $type:ty, [$versions:expr]) => {
        if ($versions).contains(&$version.number) {
            $size += <$type as $crate::protocol::wire::Wire>::size_min($version);
        }
    };
    ($size:ident, $version:ident, $type:ty, [$versions:expr] nullable [$nullable:expr]) => {
        if ($versions).contains(&$version.number) {
            let nullable = ($nullable).contains(&$version.number);
            let field = std::marker::PhantomData::<$type>;
            $size += $crate::protocol::wire::optional_size_min(field, nullable, $version);
        }
    };
    ($($tagged:tt)*) => {};
}

macro_rules! read_field {
    ($field:expr, $reader:ident, $version:ident, [$versions:expr]) => {
        if ($versions).contains(&$version.number) {
            $field = $crate::protocol::wire::Wire::read($reader, $version)?;
        }
    };
    ($field:expr, $reader:ident, $version:ident, [$versions:expr] nullable [$nullable:expr]) => {
        if ($versions).contains(&$version.number) {
            $field = if ($nullable).contains(&$version.number) {
                $crate::protocol::wire::Nullable::read_nullable($reader, $version)?
            } else {
                Some($crate::protocol::wire::Wire::read($reader, $version)?)
            };
        }
    };
    ($($tagged:tt)*) => {};
}

macro_rules! read_tag {
    (
        $field:expr, $found:ident, $reader:ident, $version:ident,
        [$versions:expr] $(nullable [$nullable:expr])? tag $tag:literal
    ) => {
        if $found == $tag && ($versions).contains(&$version.number) {
            read_field!($field, $reader, $version, [$versions] $(nullable [$nullable])?);
            return Ok(true);
        }
    };
    ($($untagged:tt)*) => {};
}

macro_rules! write_field {
    ($field:expr, $writer:ident, $version:ident, [$versions:expr]) => {
        if ($versions).contains(&$version.number) {
            $crate::protocol::wire::Wire::write(&$field, $writer, $version);
        }
    };
    ($field:expr, $writer:ident, $version:ident, [$versions:expr] nullable [$nullable:expr]) => {
        if ($versions).contains(&$version.number) {
            let nullable = ($nullable).contains(&$version.number);
            let value = $field.as_ref();
            $crate::protocol::wire::write_optional(value, nullable, $writer, $version);
        }
    };
    ($($tagged:tt)*) => {};
}

macro_rules! is_tagged {
    ($field:expr, $default:expr, $version:ident, [$versions:expr] tag $tag:literal) => {
        ($versions).contains(&$version.number)
            && $crate::protocol::wire::differs(&$field, &$default)
    };
    ($($untagged:tt)*) => {
        false
    };
}

macro_rules! write_tag {
    (
        $field:expr, $default:expr, $writer:ident, $version:ident,
        [$versions:expr] $(nullable [$nullable:expr])? tag $tag:literal
    ) => {
        if is_tagged!($field, $default, $version, [$versions] tag $tag) {
            $writer.tagged_field($tag, |writer| {
                write_field!($field, writer, $version, [$versions] $(nullable [$nullable])?);
            });
        }
    };
    ($($untagged:tt)*) => {};
}
