"""Cancel an upload, even after it was confirmed."""

from sqlalchemy import select

from portal.db import db, is_storable
from portal.images import deletion, gallery
from portal.images.models import Property, Upload
from portal.infra import storage
from portal.work import work


def cancel(property: Property, key: str) -> str | None:
    """Delete an upload and the photo that it became, for good; return its file name, None for an unknown upload.

    A concurrent confirm leaves no photo either: whichever takes the property's lock first, either the confirm finds no
    upload, or its photo is deleted here. Raises NotFound if the property was deleted.
    """
    with work() as w:
        rows = gallery.lock_images(property)
        by_key = select(Upload).where(Upload.property_id == property.id, Upload.key == key)
        upload = db.session.scalar(by_key) if is_storable(key) else None
        if upload is None:
            return None
        file_name = upload.file_name
        w.drop(storage.uploads, upload.key)
        if upload.image_uuid is None:
            db.session.delete(upload)
            return file_name
        before = gallery.state_of(rows)
        deletion.remove(w, [image for image in rows if image.uuid == upload.image_uuid])
        gallery.set_order_and_cover(w, property, before, [image for image in rows if image.uuid != upload.image_uuid])
    return file_name
