//! Thumbnails, and images that are not what they say.

use std::io::Cursor;

use image::{
    AnimationDecoder as _, DynamicImage, Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage,
    codecs::{gif::GifEncoder, webp::WebPDecoder},
};

use super::*;

/// An image of this size.
pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
    let image = RgbImage::from_fn(width, height, |x, y| {
        Rgb([x.to_le_bytes()[0], y.to_le_bytes()[0], 77])
    });
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image)
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// An image that says it is much larger than it is.
fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(100, 100);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = u32::MAX;
    for byte in &bytes[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

pub(super) async fn thumbnail(client: &Client, path: &str, query: &str) -> Download {
    let path = format!("/_matrix/client/v1/media/thumbnail/{path}?{query}");
    get(client, &path, &[]).await
}

#[track_caller]
pub(super) fn size(file: &Download) -> (u32, u32) {
    assert_eq!(file.status, 200, "{file:?}");
    let image = image::load_from_memory(&file.bytes).unwrap();
    (image.width(), image.height())
}

#[tokio::test]
async fn thumbnails_have_the_sizes_of_the_specification_and_are_made_once() {
    let server = server("").await;
    let anna = server.register("anna").await;
    let path = upload(&anna, "image/png", &png(1600, 800)).await;
    let crop = thumbnail(&anna, &path, "width=30&height=30&method=crop").await;
    assert_eq!(size(&crop), (32, 32));
    assert_eq!(crop.header("content-type"), "image/jpeg");
    assert_eq!(
        crop.header("content-disposition"),
        "inline; filename=\"thumbnail.jpeg\""
    );
    assert_eq!(crop.header("x-content-type-options"), "nosniff");
    let scale = thumbnail(&anna, &path, "width=320&height=240").await;
    assert_eq!(size(&scale), (320, 160));
    assert_eq!(
        size(&thumbnail(&anna, &path, "width=700&height=10&method=scale").await),
        (800, 400)
    );
    assert_eq!(objects(&server), 4);
    let again = thumbnail(&anna, &path, "width=32&height=32&method=crop").await;
    assert_eq!(again.bytes, crop.bytes);
    assert_eq!(objects(&server), 4);
    // An image that is small enough comes as it is.
    let small = png(20, 10);
    let path = upload(&anna, "image/png", &small).await;
    let same = thumbnail(&anna, &path, "width=32&height=32&method=crop").await;
    assert_eq!(
        (same.header("content-type"), &same.bytes),
        ("image/png", &small)
    );
    assert_eq!(
        thumbnail(&anna, &path, "width=32&height=32&method=crop")
            .await
            .bytes,
        small
    );
}

/// A GIF of three frames.
fn gif() -> Vec<u8> {
    let mut bytes = Vec::new();
    {
        let mut encoder = GifEncoder::new(&mut bytes);
        for shade in [0, 100, 200] {
            let image = RgbaImage::from_pixel(400, 300, Rgba([shade, 0, 0, 255]));
            encoder.encode_frame(Frame::new(image)).unwrap();
        }
    }
    bytes
}

fn frames(file: &Download) -> usize {
    assert_eq!(file.header("content-type"), "image/webp", "{file:?}");
    let decoder = WebPDecoder::new(Cursor::new(&file.bytes)).unwrap();
    assert!(decoder.has_animation());
    decoder.into_frames().count()
}

#[tokio::test]
async fn what_moves_has_thumbnails_that_move_where_that_is_asked_for() {
    let server = server("").await;
    let anna = server.register("anna").await;
    let path = upload(&anna, "image/gif", &gif()).await;
    let size_asked = "width=320&height=240";
    let moving = thumbnail(&anna, &path, &format!("{size_asked}&animated=true")).await;
    assert_eq!((size(&moving), frames(&moving)), ((320, 240), 3));
    assert_eq!(
        moving.header("content-disposition"),
        "inline; filename=\"thumbnail.webp\""
    );
    // An animated WebP is one too.
    let path = upload(&anna, "image/webp", &moving.bytes).await;
    let small = "width=96&height=96&method=crop";
    let moving = thumbnail(&anna, &path, &format!("{small}&animated=true")).await;
    assert_eq!((size(&moving), frames(&moving)), ((96, 96), 3));
    for still in [format!("{small}&animated=false"), small.to_owned()] {
        let still = thumbnail(&anna, &path, &still).await;
        assert_eq!(size(&still), (96, 96));
        assert_eq!(still.header("content-type"), "image/jpeg");
    }
}

#[tokio::test]
async fn what_is_no_image_has_no_thumbnail_and_takes_nothing_down() {
    let server = server("[media.images]\nmax_pixels = 1000000\n").await;
    let anna = server.register("anna").await;
    let whole = png(300, 300);
    let polyglot = [b"GIF89a".as_slice(), b"<script>alert(1)</script>"].concat();
    for (kind, bytes, status) in [
        (
            "image/png",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(),
            400,
        ),
        ("image/png", whole[..whole.len() / 2].to_vec(), 400),
        ("image/gif", polyglot, 413),
        ("image/png", bomb(16_384, 16_384), 413),
        ("image/png", png(1001, 1000), 413),
        ("image/jpeg", Vec::new(), 400),
        ("text/plain", b"hello".to_vec(), 400),
    ] {
        let path = upload(&anna, kind, &bytes).await;
        let answer = thumbnail(&anna, &path, "width=32&height=32").await;
        assert_eq!(answer.status, status, "{kind} {:?}", answer.errcode());
    }
    // Another type than it says: the bytes tell.
    let path = upload(&anna, "application/octet-stream", &whole).await;
    assert_eq!(
        size(&thumbnail(&anna, &path, "width=32&height=32&method=crop").await),
        (32, 32)
    );
    for query in [
        "width=32",
        "height=32",
        "width=a&height=32",
        "width=-1&height=32",
        "width=0&height=32",
        "width=99999999999&height=1",
        "width=32&height=32&method=stretch",
        "width=32&height=32&animated=perhaps",
    ] {
        assert_eq!(thumbnail(&anna, &path, query).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn an_image_process_that_takes_too_much_is_stopped() {
    let server = server("[media.images]\nmax_memory = \"256MiB\"\nmax_pixels = 200000000\n").await;
    let anna = server.register("anna").await;
    // 300 MB once it is unpacked.
    let path = upload(&anna, "image/png", &bomb(10_000, 10_000)).await;
    let answer = thumbnail(&anna, &path, "width=32&height=32").await;
    assert_eq!(answer.status, 413, "{answer:?}");
    let path = upload(&anna, "image/png", &png(300, 300)).await;
    assert_eq!(
        size(&thumbnail(&anna, &path, "width=32&height=32&method=crop").await),
        (32, 32)
    );
}
