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
    assert_eq!(size(&made), ("image/webp", 96, 96));
    assert_eq!(moving_frames(&made).len(), 3);
    let whole = Job {
        is_animated: true,
        ..job(640, 480, false)
    };
    assert_eq!(make(&gif(3), &whole), Outcome::Original);
    // One that is too long stands still.
    assert_eq!(size(&make(&gif(300), &moving)), ("image/jpeg", 96, 96));
    assert_eq!(make(&gif(1), &whole), Outcome::Original);
}

/// The frames of a `WebP`, and for how many milliseconds each is seen.
fn webp_frames(bytes: &[u8]) -> Vec<(RgbaImage, u32)> {
    let decoder = WebPDecoder::new(Cursor::new(bytes)).unwrap();
    assert!(decoder.has_animation());
    let frames = decoder.into_frames().collect_frames().unwrap();
    let read = |frame: Frame| {
        let (delay, _) = frame.delay().numer_denom_ms();
        (frame.into_buffer(), delay)
    };
    frames.into_iter().map(read).collect()
}

#[track_caller]
fn moving_frames(outcome: &Outcome) -> Vec<(RgbaImage, u32)> {
    let Outcome::Made {
        content_type: "image/webp",
        bytes,
    } = outcome
    else {
        panic!("{outcome:?}")
    };
    webp_frames(bytes)
}

fn webp(frames: &[(RgbaImage, u32)]) -> Vec<u8> {
    let mut animation = webp::Animation::new(usize::MAX);
    for (image, delay) in frames {
        let delay = Delay::from_numer_denom_ms(*delay, 1);
        assert!(animation.push(image.clone(), delay).unwrap());
    }
    animation.finish()
}

/// A square that moves over what can be seen through.
fn square(at: u32) -> RgbaImage {
    RgbaImage::from_fn(400, 300, |x, y| {
        let is_inside = (at..at + 51).contains(&x) && (21..72).contains(&y);
        Rgba([200, 30, 30, if is_inside { 255 } else { 0 }])
    })
}

#[test]
fn a_webp_that_moves_is_made_smaller_and_moves_on() {
    let image = webp(&[(square(11), 100), (square(60), 200), (square(131), 300)]);
    let moving = Job {
        is_animated: true,
        ..job(200, 150, false)
    };
    let frames = moving_frames(&make(&image, &moving));
    let delays: Vec<u32> = frames.iter().map(|(_, delay)| *delay).collect();
    assert_eq!(delays, [100, 200, 300]);
    for ((frame, _), at) in frames.iter().zip([11, 60, 131]) {
        assert_eq!(frame.dimensions(), (200, 150));
        let is_red = |x: u32| *frame.get_pixel(x, 23) == Rgba([200, 30, 30, 255]);
        let is_clear = |x: u32| frame.get_pixel(x, 23).0[3] == 0;
        assert!(is_red(at / 2 + 12), "{at}");
        // Also where the square was before.
        assert!(is_clear(at / 2 + 35) && (at == 11 || is_clear(15)), "{at}");
    }
    let still = make(&image, &job(200, 150, false));
    assert_eq!(size(&still), ("image/png", 200, 150));
    let Outcome::Made { bytes, .. } = still else {
        unreachable!()
    };
    let png = PngDecoder::new(Cursor::new(bytes)).unwrap();
    assert!(!png.is_apng().unwrap());
    let whole = Job {
        is_animated: true,
        ..job(640, 480, false)
    };
    assert_eq!(make(&image, &whole), Outcome::Original);
    // Over all frames it has too many pixels.
    let few = Job {
        max_pixels: 150_000,
        ..moving
    };
    assert_eq!(size(&make(&image, &few)), ("image/png", 200, 150));
    for length in [30, 60, image.len() / 2, image.len() - 5] {
        let broken = make(&image[..length], &moving);
        assert!(!matches!(broken, Outcome::Original), "{length}");
    }
}

#[test]
fn a_webp_that_is_written_has_all_pixels_and_times() {
    let mut other = square(11);
    other.put_pixel(399, 299, Rgba([1, 2, 3, 4]));
    other.put_pixel(397, 297, Rgba([9, 9, 9, 255]));
    let frames = [
        (square(11), 40),
        // The same, for longer.
        (square(11), 60),
        (other, 70),
        (square(20), 16_777_300),
    ];
    let read = webp_frames(&webp(&frames));
    let delays: Vec<u32> = read.iter().map(|(_, delay)| *delay).collect();
    assert_eq!(delays, [100, 70, 0x00ff_ffff]);
    for ((found, _), (expected, _)) in read.iter().zip(&frames[1..]) {
        assert!(found == expected);
    }
}

#[test]
fn an_animation_that_is_too_large_without_loss_becomes_a_gif() {
    let moving = job(96, 96, true);
    let made = animation(&gif(3), ImageFormat::Gif, &moving, 100);
    let made = made.unwrap().unwrap();
    assert_eq!(size(&made), ("image/gif", 96, 96));
    let Outcome::Made { bytes, .. } = made else {
        unreachable!()
    };
    let frames = GifDecoder::new(Cursor::new(bytes)).unwrap().into_frames();
    assert_eq!(frames.count(), 3);
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
