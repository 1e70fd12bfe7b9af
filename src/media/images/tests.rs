//! What becomes of images, good and bad ones.

use image::{Delay, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;

fn job(width: u32, height: u32, crops: bool) -> Job {
    Job {
        width,
        height,
        crops,
        is_animated: false,
        max_pixels: 4_000_000,
        max_memory: 64 << 20,
    }
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let image = RgbImage::from_pixel(width, height, Rgb([200, 30, 30]));
    written(&DynamicImage::ImageRgb8(image), ImageFormat::Png)
}

fn written(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn gif(frames: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    {
        let mut encoder = GifEncoder::new(&mut bytes);
        for at in 0..frames {
            let shade = u8::try_from(at % 200).unwrap();
            let image = RgbaImage::from_pixel(400, 300, Rgba([shade, 0, 0, 255]));
            let delay = Delay::from_numer_denom_ms(100, 1);
            encoder
                .encode_frame(Frame::from_parts(image, 0, 0, delay))
                .unwrap();
        }
    }
    bytes
}

#[track_caller]
fn size(outcome: &Outcome) -> (&'static str, u32, u32) {
    let Outcome::Made {
        content_type,
        bytes,
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    let image = image::load_from_memory(bytes).unwrap();
    (content_type, image.width(), image.height())
}

#[test]
fn images_fit_in_or_fill_the_size_and_never_grow() {
    let cases = [
        ((1600, 800), (800, 600), false, (800, 400)),
        ((800, 1600), (800, 600), false, (300, 600)),
        ((1600, 800), (96, 96), true, (96, 96)),
        ((1000, 50), (96, 96), true, (50, 50)),
        ((1000, 10), (320, 240), false, (320, 3)),
        ((1000, 1), (32, 32), false, (32, 1)),
        ((700, 700), (100, 50), true, (100, 50)),
    ];
    for ((width, height), (wide, high), crops, expected) in cases {
        let made = make(&png(width, height), &job(wide, high, crops));
        let (content_type, width, height) = size(&made);
        assert_eq!(content_type, "image/jpeg");
        assert_eq!((width, height), expected, "{wide} {high} {crops}");
    }
    let small = make(&png(20, 10), &job(32, 32, true));
    assert_eq!(small, Outcome::Original);
}

#[test]
fn what_can_be_seen_through_stays_so() {
    let image = RgbaImage::from_pixel(200, 200, Rgba([0, 0, 0, 10]));
    let image = written(&DynamicImage::ImageRgba8(image), ImageFormat::Png);
    let made = make(&image, &job(96, 96, true));
    assert_eq!(size(&made), ("image/png", 96, 96));
    let image = RgbaImage::from_pixel(200, 200, Rgba([0, 0, 0, 255]));
    let image = written(&DynamicImage::ImageRgba8(image), ImageFormat::WebP);
    let made = make(&image, &job(96, 96, true));
    assert_eq!(size(&made), ("image/jpeg", 96, 96));
}

#[test]
fn animations_move_only_where_that_is_asked_for() {
    let still = make(&gif(3), &job(96, 96, true));
    assert_eq!(size(&still), ("image/jpeg", 96, 96));
    // Also where the image is small enough as it is.
    let still = make(&gif(3), &job(640, 480, false));
    assert_eq!(size(&still), ("image/jpeg", 400, 300));
    let moving = Job {
        is_animated: true,
        ..job(96, 96, true)
    };
    let made = make(&gif(3), &moving);
    assert_eq!(size(&made), ("image/gif", 96, 96));
    let Outcome::Made { bytes, .. } = made else {
        unreachable!()
    };
    let frames = GifDecoder::new(Cursor::new(bytes)).unwrap().into_frames();
    assert_eq!(frames.count(), 3);
    let whole = Job {
        is_animated: true,
        ..job(640, 480, false)
    };
    assert_eq!(make(&gif(3), &whole), Outcome::Original);
    // One that is too long stands still.
    assert_eq!(size(&make(&gif(300), &moving)), ("image/jpeg", 96, 96));
    assert_eq!(make(&gif(1), &whole), Outcome::Original);
}

#[test]
fn too_many_pixels_are_not_read() {
    let few = Job {
        max_pixels: 100,
        ..job(32, 32, true)
    };
    assert_eq!(make(&png(11, 10), &few), Outcome::TooLarge);
    // A head that promises more than the file has.
    let mut bomb = png(100, 100);
    bomb[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let outcome = make(&bomb, &job(32, 32, true));
    assert!(matches!(outcome, Outcome::TooLarge | Outcome::Unreadable));
}

#[test]
fn what_is_no_image_is_said_to_be_none() {
    let whole = png(300, 300);
    let half = &whole[..whole.len() / 2];
    let svg = br#"<svg xmlns="http://www.w3.org/2000/svg" width="300" height="300"/>"#;
    for wrong in [
        &b""[..],
        b"\x89PNG\r\n\x1a\n",
        half,
        svg,
        b"GIF89a",
        b"\xff\xd8\xff",
        b"BM1234",
    ] {
        assert_eq!(
            make(wrong, &job(32, 32, true)),
            Outcome::Unreadable,
            "{wrong:?}"
        );
    }
}
