// Images for a question, as data URLs: nothing is uploaded before the question is sent.

import type { AttachmentAdapter, PendingAttachment } from "@assistant-ui/react";

import { texts } from "./texts";

export const KINDS = "image/png,image/jpeg,image/webp";

export const images: AttachmentAdapter = {
  accept: KINDS,
  async add({ file }) {
    if (!KINDS.split(",").includes(file.type)) throw new Error(texts.image.wrongKind);
    const image = await dataUrl(file);
    return {
      id: `${Date.now()}-${file.name}`,
      type: "image",
      name: file.name,
      contentType: file.type,
      file,
      content: [{ type: "image", image }],
      status: { type: "requires-action", reason: "composer-send" },
    };
  },
  async send(attachment: PendingAttachment) {
    return { ...attachment, content: attachment.content ?? [], status: { type: "complete" } };
  },
  async remove() {}, // nothing was sent anywhere
};

function dataUrl(file: File): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(new Error(texts.image.unreadable));
    reader.readAsDataURL(file);
  });
}
