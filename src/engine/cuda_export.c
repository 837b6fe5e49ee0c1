// SPDX-License-Identifier: Apache-2.0
#include "engine/cuda.h"

#include <unistd.h>

struct gs_error *cuda_export(struct gs_engine *engine, struct gs_mailbox_export *ret)
{
	struct cuda *cuda = engine->priv;
	int supported = 0;

	if (!cuda->mailbox)
		return engine_no_mailbox();
	*ret = (struct gs_mailbox_export){
		.size = cuda->header.size,
		.gpu_address = cuda->mailbox,
		.header = &cuda->header,
		.fd = cuda->export_fd,
	};
	if (ret->fd >= 0)
		return NULL;

	struct gs_error *err = cuda_enter(cuda);

	if (err)
		return err;
	if (!cuda->api.memory_handle ||
	    cuda->api.device_attribute(&supported, CUDA_ATTRIBUTE_DMA_BUF, cuda->device) ||
	    !supported) {
		err = gs_error_create(
			GS_ERROR_ENGINE,
			"the GPU's driver does not export memory as dma-buf, which the NIC "
			"needs: NVIDIA's open kernel modules do, from version 515 on");
	} else {
		err = cuda_error(&cuda->api,
				 cuda->api.memory_handle(&cuda->export_fd, cuda->mailbox,
							 CUDA_MAILBOX_SIZE(cuda->header.size),
							 CUDA_HANDLE_DMA_BUF_FD, 0),
				 "cannot export the mailbox as dma-buf");
		if (err)
			cuda->export_fd = -1;
	}
	cuda_leave(cuda);
	ret->fd = cuda->export_fd;
	return err;
}

void cuda_export_close(struct cuda *cuda)
{
	if (cuda->export_fd >= 0)
		close(cuda->export_fd);
	cuda->export_fd = -1;
}
