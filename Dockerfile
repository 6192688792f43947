FROM python:3.11-slim
# Programs that sources and readers need. For DOC, PPT and RTF add libreoffice-writer-nogui and libreoffice-impress-nogui.
ARG PROGRAMS="git tesseract-ocr tesseract-ocr-eng"
RUN apt-get update && apt-get install --yes --no-install-recommends ${PROGRAMS} && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/muniment
COPY requirements.lock pyproject.toml README.md ./
RUN pip install --no-cache-dir --requirement requirements.lock
COPY app app
COPY ingest ingest
RUN pip install --no-cache-dir --no-deps --no-build-isolation . && \
    python -m app.adapters.onnx_export installed && useradd --create-home muniment && \
    install -d -o muniment /var/lib/muniment
USER muniment
ENV MUNIMENT_HOME=/var/lib/muniment
EXPOSE 8321
CMD ["muniment", "serve", "--host", "0.0.0.0"]
