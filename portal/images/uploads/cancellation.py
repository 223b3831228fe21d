"""Taking an upload back, whatever it has become by now."""

from sqlalchemy import select

from portal.db import db, is_storable
from portal.images import deletion, gallery
from portal.images.models import Property, Upload
from portal.infra import storage
from portal.work import work


def cancel(property: Property, key: str) -> str | None:
    """Forget an upload, and the photo it has become, for good. Return its file's name; None for no upload of here.

    It may be confirmed at the same moment. Whoever comes first to the property's lock, no photo is left: either the
    confirm finds no upload any more, or the photo that it made is deleted. Raises NotFound.
    """
    with work() as w:
        rows = gallery.hold(property)
        mine = select(Upload).where(Upload.property_id == property.id, Upload.key == key)
        upload = db.session.scalar(mine) if is_storable(key) else None
        if upload is None:
            return None
        file_name = upload.file_name
        w.drop(storage.uploads, upload.key)
        if upload.image_uuid is None:
            db.session.delete(upload)
            return file_name
        before = gallery.state_of(rows)
        deletion.forget(w, [image for image in rows if image.uuid == upload.image_uuid])
        gallery.place(w, property, before, [image for image in rows if image.uuid != upload.image_uuid])
    return file_name
