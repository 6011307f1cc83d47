//! Cloud Resource Names: of the resources that adopters protect with a key, and the queries that look for them.
//!
//! `crn:v1:CNAME:CTYPE:SERVICE-NAME:LOCATION:SCOPE:SERVICE-INSTANCE:RESOURCE-TYPE:RESOURCE` (`api-contract`, j). The last
//! two segments may be empty or missing, which is the same: a CRN is kept without the colons at its end. Case counts.
//!
//! Some SDKs ask their callers for a CRN that is percent-encoded already, and encode it once more on its way. What is
//! still encoded when it gets here is decoded: no CRN can be mistaken for that, as it would have no colon.

use std::borrow::Cow;
use std::fmt;

/// How many segments a CRN has at most.
const SEGMENTS: usize = 10;

/// How many it has at least: as far as the service instance.
const SEGMENTS_OF_INSTANCE: usize = 8;

/// Where the service name stands.
const SERVICE_NAME: usize = 4;

/// The longest CRN that is taken, in bytes; the API publishes no bound.
const LONGEST: usize = 2048;

/// The name of one resource of another service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceCrn(String);

impl ResourceCrn {
    /// Reads a CRN of at least 8 and at most 10 segments. It consists of visible ASCII characters, names no more than one
    /// resource (so it has no `*`), and is no longer than 2,048 bytes.
    ///
    /// # Errors
    /// With what it must be, in words that go on from "The param 'urlEncodedResourceCRN' must be: " (`api-v2: POST
    /// /keys/{id}/registrations/{urlEncodedResourceCRN}`).
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = decoded(text)?;
        if text.contains('*') {
            return Err("the CRN of one resource, without '*'");
        }
        check_segments(&text)?;
        // Or one resource could be registered three times. What is left has a service instance at its end at least.
        Ok(Self(text.trim_end_matches(':').to_owned()))
    }

    /// The text, without empty segments at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which service the resource belongs to: the fifth segment, never empty.
    pub fn service_name(&self) -> &str {
        self.segments().nth(SERVICE_NAME).unwrap_or_default()
    }

    fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split(':')
    }
}

impl fmt::Display for ResourceCrn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which resources: `urlEncodedResourceCRNQuery`.
///
/// A segment `*` stands for any segment, empty ones too. The last segment can end with `*`: it then stands for all
/// that begin alike, and so do the segments that the query leaves out after it. Without that, what is left out is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrnQuery(String);

impl CrnQuery {
    /// Reads a query of at least 8 and at most 10 segments.
    ///
    /// # Errors
    /// With what it must be, in words that go on from "The param 'urlEncodedResourceCRNQuery' must be: ".
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = decoded(text)?;
        check_segments(&text)?;
        let (first, last) = text.rsplit_once(':').unwrap_or(("", &text));
        let starred = |segment: &str| segment != "*" && segment.contains('*');
        if first.split(':').any(starred) || last.strip_suffix('*').unwrap_or(last).contains('*') {
            return Err("a CRN with '*' for whole segments, or at the end of the last one, and nowhere else");
        }
        Ok(Self(text.into_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a resource is among them.
    pub fn matches(&self, crn: &ResourceCrn) -> bool {
        let mut segments = crn.segments();
        let mut patterns = self.0.split(':').peekable();
        while let Some(pattern) = patterns.next() {
            let segment = segments.next().unwrap_or_default();
            match pattern.strip_suffix('*') {
                Some(prefix) if patterns.peek().is_none() => return segment.starts_with(prefix),
                Some(_) => {}
                None if pattern == segment => {}
                None => return false,
            }
        }
        segments.all(str::is_empty)
    }

    /// What the CRNs of all matching resources begin with, as far as the query tells: for a scan of what lies in order.
    pub fn literal_prefix(&self) -> &str {
        let literal = self.0.split_once('*').map_or(self.as_str(), |(literal, _)| literal);
        // A CRN can leave out empty segments at its end, and the colons before them with them.
        literal.trim_end_matches(':')
    }

    /// Whether it leaves open whose resources: a list over all keys of an instance may not
    /// (`api-v2: GET /keys/registrations`).
    pub fn has_star_in_first_eight(&self) -> bool {
        self.0.split(':').take(SEGMENTS_OF_INSTANCE).any(|segment| segment.contains('*'))
    }
}

impl fmt::Display for CrnQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What CRNs and queries have in common. A `*` passes for whatever must be there.
fn check_segments(text: &str) -> Result<(), &'static str> {
    if text.len() > LONGEST {
        return Err("no longer than 2048 bytes");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a CRN of visible ASCII characters, without blanks");
    }
    let segments: Vec<&str> = text.split(':').take(SEGMENTS + 1).collect();
    if segments.len() > SEGMENTS {
        return Err("specified to no more than 10 segments");
    }
    if segments.first() != Some(&"crn") {
        return Err("a CRN, which begins with 'crn:v1:'");
    }
    if segments.len() < SEGMENTS_OF_INSTANCE || segments[SEGMENTS_OF_INSTANCE - 1].is_empty() {
        return Err("specified to at least the service instance");
    }
    if !matches!(segments[1], "v1" | "*") {
        return Err("a CRN, which begins with 'crn:v1:'");
    }
    if segments[2..=SERVICE_NAME].iter().any(|segment| segment.is_empty()) {
        return Err("a CRN that names the cloud, its type and the service");
    }
    Ok(())
}

/// The text without percent-encoding, where it is a CRN that is still encoded.
fn decoded(text: &str) -> Result<Cow<'_, str>, &'static str> {
    if !text.as_bytes().get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"crn%3a")) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => hex(rest.next()).zip(hex(rest.next())).map(|(high, low)| high << 4 | low).ok_or(NOT_ENCODED)?,
            plain => plain,
        };
        decoded.push(byte);
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| NOT_ENCODED)
}

const NOT_ENCODED: &str = "a CRN in URL encoding: every '%' stands before two hexadecimal digits";

fn hex(digit: Option<u8>) -> Option<u8> {
    char::from(digit?).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests;
