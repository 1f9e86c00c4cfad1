//! The codec of our gRPC services: protobuf as tonic's own codec writes it, but
//! encoded into a plain vector and decoded from one contiguous buffer. A frame
//! has hundreds of small fields, and tonic's buffers check for room at each
//! one.

use std::fmt;
use std::marker::PhantomData;

use bytes::{Buf, BufMut};
use prost::Message;
use tonic::Status;
use tonic::codec::{DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Bytes that the vector keeps between frames. Larger frames (pages) are rare.
const MAX_KEPT_BYTES: usize = 64 << 10;

/// The codec that the generated services name (`build.rs`).
pub struct Codec<T, U>(PhantomData<(T, U)>);

/// Encodes messages.
pub struct Writer<T> {
    frame: Vec<u8>,
    _of: PhantomData<T>,
}

/// Decodes messages. Their `bytes` fields share the frame's memory.
pub struct Reader<U>(PhantomData<U>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> fmt::Debug for Codec<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Codec")
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Writer<T>;
    type Decoder = Reader<U>;

    fn encoder(&mut self) -> Writer<T> {
        Writer { frame: Vec::new(), _of: PhantomData }
    }

    fn decoder(&mut self) -> Reader<U> {
        Reader(PhantomData)
    }
}

impl<T> fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

impl<U> fmt::Debug for Reader<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl<T: Message> Encoder for Writer<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(&mut self.frame).map_err(|error| Status::internal(error.to_string()))?;
        into.reserve(self.frame.len());
        into.put_slice(&self.frame);
        self.frame.clear();
        self.frame.shrink_to(MAX_KEPT_BYTES);
        Ok(())
    }
}

impl<U: Message + Default> Decoder for Reader<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let frame = from.copy_to_bytes(from.remaining());
        U::decode(frame).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
