//! Making thumbnails: a function of an image's bytes. It runs in a process of its own
//! ([`super::worker`]).
//!
//! Specification v1.19, client-server API, "Thumbnails".

mod webp;

use std::io::Cursor;

use image::{
    AnimationDecoder, Delay, DynamicImage, Frame, GenericImageView as _, ImageDecoder, ImageError,
    ImageFormat, ImageReader, ImageResult, Limits, RgbaImage,
    codecs::{
        gif::{GifDecoder, GifEncoder, Repeat},
        jpeg::JpegEncoder,
        png::PngDecoder,
        webp::WebPDecoder,
    },
    imageops::FilterType,
    metadata::Orientation,
};
use serde::{Deserialize, Serialize};

/// The quality of JPEG thumbnails.
const QUALITY: u8 = 82;
/// The most frames of an animation that stay.
const MAX_FRAMES: usize = 250;
/// How many times the pixels of a still image an animation may have, over all its frames.
const ANIMATION: u64 = 2;
/// The largest animation that is written without loss.
const MAX_LOSSLESS: usize = 8 << 20;

/// What to make.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Job {
    /// The width asked for.
    pub width: u32,
    /// The height asked for.
    pub height: u32,
    /// Whether to fill the size, and cut off what stands out; or to fit in.
    pub crops: bool,
    /// Whether it may move.
    pub is_animated: bool,
    /// The most pixels that are read.
    pub max_pixels: u64,
    /// The most memory that an image may take while it is read.
    pub max_memory: u64,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A thumbnail.
    Made {
        /// Its type.
        content_type: &'static str,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The image is as small as that itself.
    Original,
    /// This is no image that can be read.
    Unreadable,
    /// The image has too many pixels.
    TooLarge,
}

/// Whether images of this type can be read.
pub fn is_readable(content_type: &str) -> bool {
    matches!(
        content_type,
        "image/png" | "image/jpeg" | "image/gif" | "image/webp"
    )
}

/// Makes a thumbnail of a PNG, JPEG, GIF or `WebP` image; what it is, its bytes tell.
pub fn make(input: &[u8], job: &Job) -> Outcome {
    match try_make(input, job) {
        Ok(outcome) => outcome,
        Err(ImageError::Limits(_)) => Outcome::TooLarge,
        Err(_) => Outcome::Unreadable,
    }
}

fn try_make(input: &[u8], job: &Job) -> ImageResult<Outcome> {
    let reader = ImageReader::new(Cursor::new(input)).with_guessed_format()?;
    let Some(format) = reader.format() else {
        return Ok(Outcome::Unreadable);
    };
    if !matches!(
        format,
        ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Gif | ImageFormat::WebP
    ) {
        return Ok(Outcome::Unreadable);
    }
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > job.max_pixels {
        return Ok(Outcome::TooLarge);
    }
    if width == 0 || height == 0 {
        return Ok(Outcome::Unreadable);
    }
    let mut most = limits(job);
    most.reserve(decoder.total_bytes())?;
    decoder.set_limits(most)?;
    let moves = moves(input, format, job);
    if moves
        && job.is_animated
        && let Some(outcome) = animation(input, format, job, MAX_LOSSLESS)?
    {
        return Ok(outcome);
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    // It is read also where it stays as it is: what cannot be read is no image.
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    if !moves && is_small(image.dimensions(), job) {
        return Ok(Outcome::Original);
    }
    let (content_type, bytes) = encode(&resize(&image, job))?;
    Ok(Outcome::Made {
        content_type,
        bytes,
    })
}

fn limits(job: &Job) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(job.max_memory);
    limits
}

fn is_small((width, height): (u32, u32), job: &Job) -> bool {
    width <= job.width && height <= job.height
}

/// Whether an image has more than one frame.
fn moves(input: &[u8], format: ImageFormat, job: &Job) -> bool {
    frames(input, format, job)
        .is_ok_and(|frames| frames.is_some_and(|frames| frames.take(2).count() > 1))
}

/// The frames of an image, if it is of a kind that moves.
fn frames<'a>(
    input: &'a [u8],
    format: ImageFormat,
    job: &Job,
) -> ImageResult<Option<image::Frames<'a>>> {
    let input = Cursor::new(input);
    Ok(match format {
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(input)?;
            decoder.set_limits(limits(job))?;
            Some(decoder.into_frames())
        }
        ImageFormat::WebP => {
            let decoder = WebPDecoder::new(input)?;
            decoder.has_animation().then(|| decoder.into_frames())
        }
        ImageFormat::Png => {
            let decoder = PngDecoder::with_limits(input, limits(job))?;
            let moves = decoder.is_apng()?;
            moves
                .then(|| decoder.apng())
                .transpose()?
                .map(AnimationDecoder::into_frames)
        }
        _ => None,
    })
}

/// How far an animation was read.
enum Reading {
    /// To its end.
    Whole,
    /// It is small enough as it is.
    Small,
    /// It has too many frames or pixels.
    TooLong,
    /// Whoever takes the frames wants no more.
    Refused,
}

/// A smaller animation; `None` where it would be too long.
///
/// The specification prefers `WebP`. It is written without loss, which for pictures that move much
/// is larger than `most`: those become a GIF.
fn animation(
    input: &[u8],
    format: ImageFormat,
    job: &Job,
    most: usize,
) -> ImageResult<Option<Outcome>> {
    let mut lossless = webp::Animation::new(most);
    let reading = read(input, format, job, |image, delay| {
        lossless.push(image, delay)
    })?;
    match reading {
        Reading::Whole => {
            return Ok(Some(Outcome::Made {
                content_type: "image/webp",
                bytes: lossless.finish(),
            }));
        }
        Reading::Small => return Ok(Some(Outcome::Original)),
        Reading::TooLong => return Ok(None),
        Reading::Refused => drop(lossless),
    }
    let mut bytes = Vec::new();
    let reading = {
        let mut encoder = GifEncoder::new_with_speed(&mut bytes, 20);
        encoder.set_repeat(Repeat::Infinite)?;
        read(input, format, job, |image, delay| {
            encoder.encode_frame(Frame::from_parts(image, 0, 0, delay))?;
            Ok(true)
        })?
    };
    Ok(matches!(reading, Reading::Whole).then_some(Outcome::Made {
        content_type: "image/gif",
        bytes,
    }))
}

/// Gives the frames of an animation, made smaller, as long as they are taken.
fn read(
    input: &[u8],
    format: ImageFormat,
    job: &Job,
    mut take: impl FnMut(RgbaImage, Delay) -> ImageResult<bool>,
) -> ImageResult<Reading> {
    let Some(frames) = frames(input, format, job)? else {
        return Ok(Reading::TooLong);
    };
    let mut pixels = 0_u64;
    for (at, frame) in frames.enumerate() {
        let frame = frame?;
        let (delay, buffer) = (frame.delay(), frame.into_buffer());
        pixels += u64::from(buffer.width()) * u64::from(buffer.height());
        if at >= MAX_FRAMES || pixels > job.max_pixels.saturating_mul(ANIMATION) {
            return Ok(Reading::TooLong);
        }
        let image = DynamicImage::ImageRgba8(buffer);
        if at == 0 && is_small(image.dimensions(), job) {
            return Ok(Reading::Small);
        }
        if !take(resize(&image, job).into_rgba8(), delay)? {
            return Ok(Reading::Refused);
        }
    }
    Ok(Reading::Whole)
}

/// Makes an image smaller, never larger.
fn resize(image: &DynamicImage, job: &Job) -> DynamicImage {
    let (width, height) = image.dimensions();
    if job.crops {
        let (cut_width, cut_height) = largest_part((width, height), (job.width, job.height));
        let (x, y) = ((width - cut_width) / 2, (height - cut_height) / 2);
        let part = image.crop_imm(x, y, cut_width, cut_height);
        if cut_width <= job.width || cut_height <= job.height {
            return part;
        }
        return shrink(&part, job.width.max(1), job.height.max(1));
    }
    let (width, height) = fit((width, height), (job.width, job.height));
    shrink(image, width, height)
}

/// Two steps: a coarse one, which is fast, and a fine one.
fn shrink(image: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    let (has_width, has_height) = image.dimensions();
    if (has_width, has_height) == (width, height) {
        return image.clone();
    }
    let (wide, high) = (width.saturating_mul(2), height.saturating_mul(2));
    if has_width > wide.saturating_mul(2) && has_height > high.saturating_mul(2) {
        let coarse = image.thumbnail_exact(wide, high);
        return coarse.resize_exact(width, height, FilterType::CatmullRom);
    }
    image.resize_exact(width, height, FilterType::CatmullRom)
}

/// The largest part of an image that has the same shape as `wanted`.
fn largest_part((width, height): (u32, u32), wanted: (u32, u32)) -> (u32, u32) {
    let (wide, high) = (u64::from(wanted.0.max(1)), u64::from(wanted.1.max(1)));
    let (w, h) = (u64::from(width), u64::from(height));
    let narrow =
        |size: u64, most: u32| u32::try_from(size).map_or(most, |size| size.clamp(1, most));
    if w * high > h * wide {
        (narrow(h * wide / high, width), height)
    } else {
        (width, narrow(w * high / wide, height))
    }
}

/// The size of an image that is made to fit into another size; never more than it has.
fn fit((width, height): (u32, u32), (wide, high): (u32, u32)) -> (u32, u32) {
    let (wide, high) = (wide.clamp(1, width), high.clamp(1, height));
    let (w, h) = (u64::from(width), u64::from(height));
    let narrow =
        |size: u64, most: u32| u32::try_from(size).map_or(most, |size| size.clamp(1, most));
    if w * u64::from(high) > h * u64::from(wide) {
        (wide, narrow(h * u64::from(wide) / w, height))
    } else {
        (narrow(w * u64::from(high) / h, width), high)
    }
}

/// JPEG, or PNG for what can be seen through.
fn encode(image: &DynamicImage) -> ImageResult<(&'static str, Vec<u8>)> {
    let mut bytes = Vec::new();
    let is_transparent =
        image.color().has_alpha() && image.pixels().any(|(_, _, pixel)| pixel.0[3] < u8::MAX);
    if is_transparent {
        let png = DynamicImage::ImageRgba8(image.to_rgba8());
        png.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
        return Ok(("image/png", bytes));
    }
    let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    image.to_rgb8().write_with_encoder(encoder)?;
    Ok(("image/jpeg", bytes))
}

#[cfg(test)]
mod tests;
