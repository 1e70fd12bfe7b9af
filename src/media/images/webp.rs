//! Writes an animation as `WebP`. The image crate writes single images; this puts them into the
//! container, each frame only where it differs from the one before.
//!
//! RFC 9649, section 2.7, "Extended File Format".

use image::{
    Delay, ExtendedColorType, GenericImageView as _, ImageResult, RgbaImage,
    codecs::webp::WebPEncoder,
};

/// What stands before the only chunk of a single image: `RIFF`, a length, `WEBP`.
const HEAD: usize = 12;
/// There are several frames, and they can be seen through.
const FLAGS: u8 = 0b0001_0010;
/// A frame takes the place of what is below it.
const NO_BLENDING: u8 = 0b10;
/// The longest time of a frame.
const MAX_DELAY: u32 = 0x00ff_ffff;

/// An animation that goes on for ever.
pub(super) struct Animation {
    /// The most bytes.
    most: usize,
    /// The frames that are whole.
    frames: Vec<u8>,
    size: (u32, u32),
    /// What was seen last.
    seen: Option<RgbaImage>,
    /// The frame whose time is not known yet.
    last: Option<Frame>,
}

/// A part of a picture, and for how many milliseconds it is seen.
struct Frame {
    x: u32,
    y: u32,
    width: u32,
    height: u32,
    delay: u32,
    /// The chunk that the image crate makes of it.
    image: Vec<u8>,
}

impl Animation {
    /// An empty one.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            frames: Vec::new(),
            size: (0, 0),
            seen: None,
            last: None,
        }
    }

    /// Takes the next frame; `false`: it does not fit any more.
    pub(super) fn push(&mut self, image: RgbaImage, delay: Delay) -> ImageResult<bool> {
        let (numerator, denominator) = delay.numer_denom_ms();
        let delay = (numerator / denominator.max(1)).min(MAX_DELAY);
        let whole = (0, 0, image.width(), image.height());
        let part = match &self.seen {
            None => {
                self.size = image.dimensions();
                Some(whole)
            }
            Some(seen) if seen.dimensions() == image.dimensions() => changed(seen, &image),
            Some(_) => return Ok(false),
        };
        if let Some((x, y, width, height)) = part {
            self.settle();
            let cut = image.view(x, y, width, height).to_image();
            let mut bytes = Vec::new();
            WebPEncoder::new_lossless(&mut bytes).encode(
                &cut,
                width,
                height,
                ExtendedColorType::Rgba8,
            )?;
            self.last = Some(Frame {
                x,
                y,
                width,
                height,
                delay,
                image: bytes.split_off(HEAD.min(bytes.len())),
            });
        } else if let Some(last) = &mut self.last {
            last.delay = last.delay.saturating_add(delay).min(MAX_DELAY);
        }
        self.seen = Some(image);
        let waiting = self.last.as_ref().map_or(0, |last| last.image.len());
        Ok(self.frames.len().saturating_add(waiting) <= self.most)
    }

    /// Writes the frame that waits.
    fn settle(&mut self) {
        let Some(frame) = self.last.take() else {
            return;
        };
        let mut body = Vec::with_capacity(frame.image.len() + 16);
        for number in [
            frame.x / 2,
            frame.y / 2,
            frame.width.saturating_sub(1),
            frame.height.saturating_sub(1),
            frame.delay,
        ] {
            put_short(&mut body, number);
        }
        body.push(NO_BLENDING);
        body.extend_from_slice(&frame.image);
        put_chunk(&mut self.frames, *b"ANMF", &body);
    }

    /// The file.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.settle();
        let mut body = b"WEBP".to_vec();
        let mut head = vec![FLAGS, 0, 0, 0];
        put_short(&mut head, self.size.0.saturating_sub(1));
        put_short(&mut head, self.size.1.saturating_sub(1));
        put_chunk(&mut body, *b"VP8X", &head);
        // No background, and no end.
        put_chunk(&mut body, *b"ANIM", &[0; 6]);
        body.append(&mut self.frames);
        let mut file = Vec::with_capacity(body.len() + 8);
        put_chunk(&mut file, *b"RIFF", &body);
        file
    }
}

/// Where two images of one size differ: the left and upper edge, which must be even, and the size.
fn changed(one: &RgbaImage, other: &RgbaImage) -> Option<(u32, u32, u32, u32)> {
    let pixels = one.enumerate_pixels().zip(other.pixels());
    let mut edges: Option<(u32, u32, u32, u32)> = None;
    for ((x, y, pixel), new) in pixels {
        if pixel != new {
            let (left, top, right, bottom) = edges.unwrap_or((x, y, x, y));
            edges = Some((left.min(x), top.min(y), right.max(x), bottom.max(y)));
        }
    }
    edges.map(|(left, top, right, bottom)| {
        let (left, top) = (left & !1, top & !1);
        (left, top, right - left + 1, bottom - top + 1)
    })
}

/// Three bytes.
fn put_short(out: &mut Vec<u8>, number: u32) {
    out.extend(number.to_le_bytes().into_iter().take(3));
}

fn put_chunk(out: &mut Vec<u8>, name: [u8; 4], body: &[u8]) {
    out.extend_from_slice(&name);
    out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(body);
    if body.len() % 2 == 1 {
        out.push(0);
    }
}
