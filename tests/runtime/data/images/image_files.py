"""Write PNG, TIFF and netpbm files byte by byte from numpy arrays, and DICOM files by pydicom's own writer."""

import struct
import warnings
import zlib

import numpy as np

# Where the first row and the first column of a stored image lie in the picture, by EXIF's orientation.
CORNERS = {
    1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
    5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
}  # fmt: skip
# Adam7: first row and column of each pass, and the steps to the next ones.
PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
PNG_TYPES = {("gray", False): 0, ("RGB", False): 2, ("gray", True): 4, ("RGB", True): 6}


def laid_down(picture, orientation):
    """Return (height, width, …) as a camera held otherwise stores it: pixel by pixel, from the standard's words."""
    rows_along, columns_along = CORNERS[orientation]
    height, width = picture.shape[:2]
    sides = {"top": height, "bottom": height, "left": width, "right": width}
    stored = np.empty((sides[rows_along], sides[columns_along], *picture.shape[2:]), picture.dtype)
    for row in range(stored.shape[0]):
        for column in range(stored.shape[1]):
            place = {}
            for side, step in ((rows_along, row), (columns_along, column)):
                axis = "y" if side in ("top", "bottom") else "x"
                place[axis] = step if side in ("top", "left") else sides[side] - 1 - step
            stored[row, column] = picture[place["y"], place["x"]]
    return stored


def _chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _filtered(line, before, step, kind):
    """Filter one line of a PNG: kind 0 none, 1 sub, 2 up, 3 average, 4 Paeth."""
    out = bytearray([kind])
    for place, byte in enumerate(line):
        left = line[place - step] if place >= step else 0
        up = before[place]
        corner = before[place - step] if place >= step else 0
        nearest = min(
            (abs(up - corner), 0, left), (abs(left - corner), 1, up), (abs(left + up - 2 * corner), 2, corner)
        )
        out.append((byte - (0, left, up, (left + up) // 2, nearest[2])[kind]) % 256)
    return bytes(out)


def _lines(pixels, bits):
    """Yield the filtered lines of a PNG or of one of its passes."""
    step = max(1, bits * pixels.shape[2] // 8)
    before = None
    for number, row in enumerate(pixels):
        plain = row.astype(">u2" if bits == 16 else "u1")
        line = np.packbits(plain[:, 0]).tobytes() if bits == 1 else plain.tobytes()
        yield _filtered(line, before or bytes(len(line)), step, number % 5 if bits >= 8 else 0)
        before = line


def png(pixels, *, bits=8, color="gray", alpha=False, orientation=1, clear=None, palette=None, interlaced=False):
    """Write (height, width, channels) whole numbers; a palette is (colors, 3) and `clear` then one alpha a color."""
    height, width = pixels.shape[:2]
    parts = [pixels[row::down, column::right] for row, column, down, right in PASSES] if interlaced else [pixels]
    lines = [line for part in parts if part.size for line in _lines(part, bits)]
    kind = 3 if palette is not None else PNG_TYPES[color, alpha]
    data = b"\x89PNG\r\n\x1a\n" + _chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, int(interlaced))
    )
    if palette is not None:
        data += _chunk(b"PLTE", palette.astype("u1").tobytes())
    if clear is not None:
        data += _chunk(b"tRNS", np.asarray(clear, "u1" if palette is not None else ">u2").tobytes())
    if orientation != 1:
        data += _chunk(b"eXIf", b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0))
    return data + _chunk(b"IDAT", zlib.compress(b"".join(lines))) + _chunk(b"IEND", b"")


def _ifd(order, entries, at):
    """Write a directory at an offset; numbers that do not fit stand after it."""
    codes = {"H": 3, "I": 4}
    body, beyond = b"", b""
    end = at + 2 + 12 * len(entries) + 4
    for tag, kind, values in sorted(entries):
        packed = struct.pack(order + kind * len(values), *values)
        if len(packed) > 4:
            field = struct.pack(order + "I", end + len(beyond))
            beyond += packed
        else:
            field = packed.ljust(4, b"\0")
        body += struct.pack(order + "HHI", tag, codes[kind], len(values)) + field
    return struct.pack(order + "H", len(entries)) + body, beyond


def tiff(*pages, big=False, photometric=1, sample=1, bits=None, extra=(), orientation=1, packed=False, subfiles=()):
    """Write pages of (height, width, channels) numbers; `sample` 1 unsigned, 2 signed, 3 float; `packed` by deflate."""
    order = ">" if big else "<"
    data = (b"MM" if big else b"II") + struct.pack(order + "H", 42)
    place, parts = 8, []
    for number, pixels in enumerate(pages):
        height, width, channels = pixels.shape
        strip = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        if bits == 12:
            strip = _twelve(pixels[..., 0])
        strip = zlib.compress(strip) if packed else strip
        strip += b"\0" * (len(strip) % 2)
        depth = bits or pixels.dtype.itemsize * 8
        entries = [
            (254, "I", [subfiles[number] if subfiles else 0]), (256, "I", [width]), (257, "I", [height]),
            (258, "H", [depth] * channels), (259, "H", [8 if packed else 1]), (262, "H", [photometric]),
            (273, "I", [place]), (274, "H", [orientation]), (277, "H", [channels]), (278, "I", [height]),
            (279, "I", [len(strip)]), (284, "H", [1]), (339, "H", [sample] * channels),
        ]  # fmt: skip
        entries += [(338, "H", list(extra))] if extra else []
        begin = place + len(strip)
        head, beyond = _ifd(order, entries, begin)
        after = begin + len(head) + 4 + len(beyond)
        parts.append((strip, head, beyond, begin, after))
        place = after
    data += struct.pack(order + "I", parts[0][3])
    for number, (strip, head, beyond, _, _) in enumerate(parts):
        follows = parts[number + 1][3] if number + 1 < len(parts) else 0
        data += strip + head + struct.pack(order + "I", follows) + beyond
    return data


def _twelve(numbers):
    """Pack numbers of 12 bits, line by line, the upper bits first."""
    lines = []
    for row in numbers:
        flags = (row[:, None].astype(int) >> np.arange(11, -1, -1)) & 1
        lines.append(np.packbits(flags.ravel().astype(np.uint8)).tobytes())
    return b"".join(lines)


def netpbm(pixels, largest):
    """Write a PGM or PPM whose numbers go up to `largest`."""
    height, width, channels = pixels.shape
    head = f"P{6 if channels == 3 else 5}\n{width} {height}\n{largest}\n".encode()
    return head + pixels.astype(">u2" if largest > 255 else "u1").tobytes()


def dicom(file, pixels, *, stored=None, photometric="MONOCHROME2", syntax=None, fragment=None, **attributes):
    """Write (height, width[, 3]) as a DICOM file of a patient, `stored` bits a number; attributes by their keyword."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = SecondaryCaptureImageStorage, meta.MediaStorageSOPInstanceUID
    data.PatientName, data.PatientID, data.Modality = "CANARY^Jane", "CANARY-17", "DX"
    data.Rows, data.Columns = pixels.shape[-2:] if attributes.get("NumberOfFrames") else pixels.shape[:2]
    data.SamplesPerPixel = 3 if pixels.ndim == 3 and not attributes.get("NumberOfFrames") else 1
    data.PhotometricInterpretation = photometric
    if data.SamplesPerPixel == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated = pixels.dtype.itemsize * 8
    data.BitsStored = stored or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes() if fragment is None else encapsulate([fragment])
    data["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 or fragment is not None else "OB"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in attributes.items():
            setattr(data, name, value)
        data.save_as(file, enforce_file_format=True)
