//! Writing the fields of a request.

use super::input::TopicId;

/// The longest string that every version can write. Names that Kafka knows are far shorter.
const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// A request under way: four bytes of room for its length, then its fields.
#[derive(Debug, Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    flexible: bool,
}

impl Output {
    /// Starts a request anew; its memory is used again.
    pub(super) fn start(&mut self, flexible: bool) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&[0; 4]);
        self.flexible = flexible;
    }

    /// Returns the request with its length in front.
    pub(super) fn finish(&mut self) -> &[u8] {
        let length = u32::try_from(self.bytes.len() - 4).expect("a request is far shorter than 4 GiB");
        self.bytes[..4].copy_from_slice(&length.to_be_bytes());
        &self.bytes
    }

    pub(super) fn i8(&mut self, value: i8) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn bool(&mut self, value: bool) {
        self.i8(i8::from(value));
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn topic_id(&mut self, id: &TopicId) {
        self.bytes.extend_from_slice(id);
    }

    pub(super) fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }

    /// Writes the number of an array's entries.
    pub(super) fn count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("a request has far fewer than 4 billion entries");
        match self.flexible {
            true => self.varint(count + 1),
            false => self.bytes.extend_from_slice(&count.to_be_bytes()),
        }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes a string; one that is longer than any name that Kafka knows is cut.
    pub(super) fn string(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(STRING_BYTES_MAX)];
        match self.flexible {
            true => self.varint(u32::try_from(text.len() + 1).expect("the text was cut")),
            false => self.i16(i16::try_from(text.len()).expect("the text was cut")),
        }
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Ends a structure without tagged fields.
    pub(super) fn tags(&mut self) {
        if self.flexible {
            self.varint(0);
        }
    }

    /// Writes what precedes every request. The client's id keeps its old form in flexible versions.
    pub(super) fn header(&mut self, api: i16, version: i16, correlation: i32, client_id: &str) {
        self.i16(api);
        self.i16(version);
        self.i32(correlation);
        let flexible = std::mem::replace(&mut self.flexible, false);
        self.string(client_id);
        self.flexible = flexible;
        self.tags();
    }
}

#[cfg(test)]
mod tests {
    use super::super::input::Input;
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        for flexible in [false, true] {
            let mut output = Output::default();
            output.start(flexible);
            output.i16(-2);
            output.string("naïve");
            output.count(300);
            output.bytes(&[7; 300]);
            output.i64(i64::MIN);
            output.tags();
            let bytes = output.finish().to_vec();
            assert_eq!(bytes[..4], u32::try_from(bytes.len() - 4).expect("short").to_be_bytes());
            let mut input = Input::new(&bytes[4..], flexible);
            assert_eq!(input.i16(), Ok(-2));
            assert_eq!(input.string(), Ok("naïve"));
            assert_eq!(input.count(1), Ok(300));
            assert_eq!(input.nullable_bytes(), Ok(Some(&[7; 300][..])));
            assert_eq!(input.i64(), Ok(i64::MIN));
            assert_eq!(input.tags(), Ok(()));
            assert_eq!(input.position(), bytes.len() - 4);
        }
    }

    #[test]
    fn the_header_keeps_the_old_string_in_flexible_versions() {
        let mut output = Output::default();
        output.start(true);
        output.header(1, 12, 5, "me");
        let expected = [0, 0, 0, 13, 0, 1, 0, 12, 0, 0, 0, 5, 0, 2, b'm', b'e', 0];
        assert_eq!(output.finish(), expected);
    }
}
