# The images of VectorCache: targets operator, node, router and client. scripts/images.sh builds them.
#
#   docker build --target node -t vectorcache/node .
#
# Each image has these layers: the base, the packages that several images need, the packages that only this image needs,
# and VectorCache. A change of the code rebuilds only the last layer. The images share the first ones, so a machine
# stores these once.
# Builds are reproducible: versions come from constraints.txt, and bytecode is checked by hash instead of time.

ARG BASE=docker.io/library/python:3.11-slim


# The requirements of each image, as lists. Other changes of pyproject.toml do not change them and reinstall nothing.
FROM ${BASE} AS requirements
WORKDIR /requirements
COPY pyproject.toml /source/
COPY scripts/requirements.py /source/scripts/
RUN for extra in service node router operator cli; do \
        python /source/scripts/requirements.py $extra > $extra.txt || exit 1; \
    done \
    && grep ^kubernetes router.txt > kubernetes.txt \
    && grep -v ^kubernetes cli.txt > client.txt


# The wheel, with the scan compiled.
FROM ${BASE} AS wheel
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
COPY constraints.txt /
RUN pip install --no-cache-dir -c /constraints.txt 'hatchling>=1.26'
WORKDIR /source
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY core core
COPY service service
COPY client client
COPY tools tools
COPY llm llm
COPY node node
COPY router router
COPY operator operator
# The earliest time that a zip file can store.
ENV SOURCE_DATE_EPOCH=315532800
# The build fails if the scan was not compiled, because searches without it are slower. Elsewhere, it is optional.
RUN pip wheel --no-cache-dir --no-build-isolation --no-deps --wheel-dir /wheels . \
    && python -m zipfile -l /wheels/*.whl | grep -q native/_scan.so \
    && python -m venv --without-pip /opt/vectorcache \
    && pip --python /opt/vectorcache/bin/python install --no-deps --prefix /installed /wheels/*.whl


# The layers that all images share. Tests and headers of libraries are removed, as are Flight and S3 of pyarrow.
FROM ${BASE} AS common
# USER is set for libraries that ask for the user's name: the uid has no entry in /etc/passwd, and a cluster may choose
# another uid.
# Few threads allocate memory. More than two arenas would retain unused memory.
ENV PATH=/opt/vectorcache/bin:$PATH \
    HOME=/tmp \
    USER=vectorcache \
    MALLOC_ARENA_MAX=2 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/vectorcache
RUN python -m venv --without-pip .
COPY constraints.txt ./
COPY --from=requirements /requirements/service.txt requirements/
# With SOURCE_DATE_EPOCH, pip compiles to bytecode that is checked by the source's hash.
RUN SOURCE_DATE_EPOCH=315532800 pip --python bin/python install --no-cache-dir \
        -c constraints.txt -r requirements/service.txt \
    && cd lib/python3*/site-packages \
    && find numpy pyarrow -type d -name tests -prune -exec rm -r {} + \
    && rm -r pyarrow/include pyarrow/src \
    && rm -f pyarrow/*_flight.* pyarrow/*_s3.* pyarrow/*_s3fs.*


FROM common AS azure
COPY --from=requirements /requirements/node.txt requirements/
RUN SOURCE_DATE_EPOCH=315532800 pip --python bin/python install --no-cache-dir \
        -c constraints.txt -r requirements/node.txt

FROM common AS kubernetes
COPY --from=requirements /requirements/kubernetes.txt requirements/
RUN SOURCE_DATE_EPOCH=315532800 pip --python bin/python install --no-cache-dir \
        -c constraints.txt -r requirements/kubernetes.txt

FROM kubernetes AS operator-dependencies
COPY --from=requirements /requirements/operator.txt requirements/
RUN SOURCE_DATE_EPOCH=315532800 pip --python bin/python install --no-cache-dir \
        -c constraints.txt -r requirements/operator.txt

FROM kubernetes AS router-dependencies
COPY --from=requirements /requirements/router.txt requirements/
RUN SOURCE_DATE_EPOCH=315532800 pip --python bin/python install --no-cache-dir \
        -c constraints.txt -r requirements/router.txt

FROM azure AS client-dependencies
COPY --from=requirements /requirements/client.txt requirements/
RUN SOURCE_DATE_EPOCH=315532800 pip --python bin/python install --no-cache-dir \
        -c constraints.txt -r requirements/client.txt


FROM azure AS node
COPY --from=wheel /installed ./
RUN bin/python -c 'import vectorcache_node.node'
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["python", "-m", "vectorcache_node"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="VectorCache node" \
      org.opencontainers.image.description="Caches and searches vector collections in memory and on disk" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


FROM router-dependencies AS router
COPY --from=wheel /installed ./
RUN bin/python -c 'import vectorcache_router.cluster'
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["python", "-m", "vectorcache_router"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="VectorCache router" \
      org.opencontainers.image.description="Sends searches to the nodes and merges their answers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


FROM operator-dependencies AS operator
COPY --from=wheel /installed ./
RUN bin/python -c 'import vectorcache_operator, kopf, kubernetes'
WORKDIR /tmp
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["python", "-m", "vectorcache_operator"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="VectorCache operator" \
      org.opencontainers.image.description="Reconciles VectorCache resources in a Kubernetes cluster" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"


# The command vectorcache, which builds and searches collections. It is the last stage, which is the default target.
FROM client-dependencies AS client
COPY --from=wheel /installed ./
RUN bin/vectorcache --help > /dev/null
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["vectorcache"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="VectorCache client" \
      org.opencontainers.image.description="The command vectorcache: builds collections of vectors and searches them" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
